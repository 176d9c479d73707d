"""The command ``./check``: parse the command line, make a plan, run it under pytest, exit.

``--help``, ``--list`` and ``--version`` work without third-party packages, so such imports are
inside the functions that need them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from qbdcheck import interrupts
from qbdcheck.arguments import parse
from qbdcheck.bootstrap.install import path_with_sbin
from qbdcheck.catalogue.plan import Planned, make_plan
from qbdcheck.catalogue.results_root import REPORT
from qbdcheck.command_help import text_of
from qbdcheck.errors import SetupError, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.options import Options
from qbdcheck.standard_output import (
    OutputError,
    discard_standard_output,
    guard_standard_output,
)

if TYPE_CHECKING:
    from pathlib import Path

    from qbdcheck.report.causes import Contradiction
    from qbdcheck.runner.reaper import Reaper
    from qbdcheck.targets.description import Description


def main(argv: Sequence[str] | None = None) -> int:
    """Run what `argv` (by default sys.argv) asks for; return the exit code."""
    os.environ["PATH"] = path_with_sbin(os.environ.get("PATH", os.defpath))
    try:
        _open_standard_streams()
        with interrupts.raised():
            code = _main(_parse(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except OutputError as error:
        discard_standard_output()
        if error.reader_has_gone:
            return ExitCode.INTERRUPTED
        print(f"check: cannot write to standard output: {error.strerror}", file=sys.stderr)
        return ExitCode.USAGE
    except UsageError as error:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        print(f"check: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code


def _open_standard_streams() -> None:
    """Refuse a closed standard output; connect a closed input or error stream to /dev/null.

    :raise UsageError: standard output is closed.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        raise UsageError("standard output is closed")
    guard_standard_output()


def _parse(argv: Sequence[str]) -> Options:
    """Parse without interruption: argparse hides an interrupt behind an error of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return parse(argv)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _main(options: Options) -> int:  # noqa: PLR0911, PLR0912  # one for each subcommand
    match options.subcommand:
        case "version" | "help":
            return _show(options)
        case "new":
            from qbdcheck.commands import new

            return new.main(options.arguments, options.selection.suites_dir)
        case "rules":
            from qbdcheck.commands import rules

            return rules.main(options.arguments)
        case "completion":
            from qbdcheck.commands import completion

            places = options.selection.suites_dir, options.target.targets_dir
            return completion.main(options.arguments, *places)
        case "inspect":
            from qbdcheck.commands import inspect

            with _reaped(tempfile.gettempdir()):
                return inspect.main(options.arguments)
        case "diff" | "history" | "merge" | "durations" | "verify-certificate":
            return _on_saved_runs(options)
        case "doctor":
            return _doctor(options)
        case "install":
            from qbdcheck.bootstrap import install

            return install.main(sys.argv[1:])
        case "replay":
            from qbdcheck.commands import replay
            from qbdcheck.targets.mutant_target import profile

            target = options.target
            description = profile(target.name, target.targets_dir, options.selection.suites_dir)
            with _reaped(options.execution.scratch_root):
                return replay.main(options.arguments, target, options.execution, description)
        case "mutants":
            from qbdcheck.mutation import kill_matrix

            if options.list_only:
                return kill_matrix.list_mutants(options.selection, options.mutation)
            with _reaped(options.execution.scratch_root):
                return kill_matrix.main(
                    options.selection,
                    options.target,
                    options.execution,
                    options.reports,
                    options.mutation,
                    cluster=options if options.cluster else None,
                )
        case "probe":
            from qbdcheck.commands import probe

            color = options.reports.color != "off"
            with _reaped(options.execution.scratch_root):
                return probe.main(
                    options.target,
                    options.arguments[0],
                    color=color,
                    stress=options.stress,
                    suites_dir=options.selection.suites_dir,
                )
    if options.list_only:
        return _list(options)
    return _run(options)


def _show(options: Options) -> int:
    if options.subcommand == "help":
        print(text_of(options.arguments[0]), end="")
    else:
        from qbdcheck.bootstrap.version import version

        print(f"qbdcheck {version()}")
    return ExitCode.GREEN


def _doctor(options: Options) -> int:
    from qbdcheck.commands.doctor import visit

    scratch = tempfile.gettempdir()
    with _reaped(scratch, is_needed=False):
        return visit.main(options.selection.suites_dir, scratch=scratch)


@contextmanager
def _reaped(parent: Path | str, *, is_needed: bool = True) -> Iterator[None]:
    """Let a reaper remove the temporary files of a subcommand, even if it is killed.

    :param parent: the directory for temporary files.
    :param is_needed: False for a subcommand that shows what is wrong with the directory instead.
    :raise SetupError: the directory for temporary files cannot be used.
    """
    from qbdcheck.runner.reaper import Reaper

    try:
        reaper = Reaper(parent)
    except SetupError:
        if is_needed:
            raise
        yield
        return
    with reaper:
        yield


def _on_saved_runs(options: Options) -> int:
    from qbdcheck.commands import diff, durations, history, merge, verify_certificate

    root, suites_dir = options.execution.results_dir.parent, options.selection.suites_dir
    match options.subcommand:
        case "diff":
            return diff.main(options.arguments, root)
        case "history":
            return history.main(options.arguments, root)
        case "merge":
            return merge.main(options.arguments, root)
        case "durations":
            return durations.main(options.arguments, root, suites_dir)
    return verify_certificate.main(options.arguments)


def _list(options: Options) -> int:
    """Print the selected cases, or all cases if there is no selection."""
    selection = options.selection
    of_last_run = selection.resume or selection.last_failed
    if not selection.arguments and not selection.groups and not of_last_run:
        selection = replace(selection, everything=True)
    cases = {one.case.number: one.case for one in _plan(replace(options, selection=selection))}
    width = max(len(case.case_id) for case in cases.values())
    for _, case in sorted(cases.items()):
        text = f"BROKEN: {case.broken}" if case.broken else case.sentence
        groups = f"[{' '.join(case.spec.groups)}]"
        print(f"{case.case_id:{width}}  {groups}  {text}")
    return ExitCode.GREEN


def _plan(options: Options) -> list[Planned]:
    return make_plan(options.selection, options.target, options.execution)


def _run(options: Options) -> int:  # noqa: PLR0911  # one for each subcommand
    """Do everything that needs the target.

    :raise UsageError: the run cannot start, or the target does not start.
    """
    from qbdcheck.runner.golden import check_golden_files
    from qbdcheck.runner.reaper import Reaper

    certifies = options.subcommand == "certify"
    if certifies:
        from qbdcheck.commands import certify

        if options.certificate.compare:
            return certify.compare(options.certificate.compare)
        certify.check(options)
    is_run = certifies or not (options.command or options.subcommand)
    plan = _plan(options) if is_run else []
    if not options.execution.update_golden:
        for planned in plan:
            if planned.case.prints and not planned.excluded:
                check_golden_files(options.execution.golden_dir, planned.case.case_id)
    _check_debuggers(options)
    # The imports below take 0.3 s, which neither --help nor a mistyped number needs.
    from qbdcheck.targets.mutant_target import profile
    from qbdcheck.targets.run_server import shared_servers_end

    target = options.target
    description = profile(target.name, target.targets_dir, options.selection.suites_dir)
    keep = options.execution.keep
    with Reaper(options.execution.scratch_root, keep) as reaper, shared_servers_end(keep=keep):
        execution = replace(options.execution, scratch_root=reaper.scratch_root)
        options = replace(options, execution=execution)
        if options.subcommand == "fio":
            from qbdcheck.commands import fio

            return fio.main(
                options.arguments,
                target=target,
                execution=execution,
                guest_options=options.guest,
                description=description,
                json_file=options.reports.json_file,
            )
        if options.subcommand == "perf":
            from qbdcheck.commands import perf

            return perf.main(options, description)
        if options.subcommand == "runtest":
            from qbdcheck.commands import runtest

            return runtest.main(
                options.arguments,
                target=target,
                execution=execution,
                guest_options=options.guest,
                description=description,
                suites_dir=options.selection.suites_dir,
                json_file=options.reports.json_file,
            )
        if options.command:
            from qbdcheck.commands.exec import run_command

            return run_command(options.command, target, execution, description)
        if options.dry_run:
            from qbdcheck.commands.dry_run import show

            return show(target, execution, description, plan)
        return _run_under_pytest(options, plan, reaper, description)


def _note(line: str) -> None:
    """Print a line that belongs to no report."""
    print(f"check: {line}", file=sys.stderr)


def _check_debuggers(options: Options) -> None:
    """Check that the program of -gdb or -valgrind is installed.

    :raise SetupError: it is not.
    """
    for flag, wanted, program in (
        ("-gdb", options.target.gdb, "gdbserver"),
        ("-valgrind", options.target.valgrind, "valgrind"),
    ):
        if wanted and shutil.which(program) is None:
            install = f"apt-get install {program}, or the same with dnf"
            raise SetupError(
                f"{flag} needs the program {program}, which is not installed: {install}"
            )


def _run_under_pytest(
    options: Options, plan: Sequence[Planned], reaper: Reaper, description: Description
) -> int:
    import pytest

    from qbdcheck import plugin
    from qbdcheck.commands.progress import Progress
    from qbdcheck.pytest_integration.session import CheckSession, NoTerminal, pytest_argv

    def contradictions(scratch: Path, capabilities: frozenset[str]) -> list[Contradiction]:
        from qbdcheck.commands.probe import contradictions_of
        from qbdcheck.targets.mutant_target import profile

        target = options.target
        description = profile(target.name, target.targets_dir, options.selection.suites_dir)
        return contradictions_of(description, target, scratch, capabilities)

    with contextlib.ExitStack() as ends:
        elsewhere = None
        if options.cluster:
            from qbdcheck.workers.session import workers_for

            scratch = reaper.scratch_root
            elsewhere = ends.enter_context(workers_for(options, plan, scratch, _note))
        session = CheckSession(
            options,
            plan,
            reaper,
            was_interrupted=lambda: bool(interrupts.received),
            contradictions=contradictions,
            elsewhere=elsewhere,
            progress=lambda: Progress(f"start of {description.name}"),
        )
        pytest.main(
            pytest_argv(options.selection.suites_dir), plugins=[session, NoTerminal(), plugin]
        )
    if session.error is not None:
        raise session.error
    if session.exit_code is None:
        raise KeyboardInterrupt
    if options.execution.keep:
        from qbdcheck.runner.artefacts import kept_lines

        session.remarks += kept_lines(options.execution.scratch_root)
    results = options.execution.results_dir
    if (results / REPORT).exists():
        session.remarks.append(f"results: {results}")
    else:
        session.remarks.append(
            f"results: not saved, {results.parent} cannot be written; name another by --results DIR"
        )
    if options.subcommand == "certify":
        from qbdcheck.commands import certify

        session.remarks += certify.write(options, description, session.capabilities)
    for remark in session.remarks:
        print(f"{'# ' if options.reports.tap else ''}{remark}")
    return session.exit_code
