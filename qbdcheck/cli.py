"""The command ``./check``: parse, plan, run under pytest, exit."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType

from qbdcheck.arguments import parse
from qbdcheck.bootstrap.install import path_with_sbin
from qbdcheck.catalogue.plan import Planned, make_plan
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import Options
from qbdcheck.runner.golden import check_golden_files
from qbdcheck.runner.reaper import Reaper

EXIT_USAGE, EXIT_INTERRUPTED = 2, 130
_PLUGINS_OFF = (
    "cacheprovider", "debugging", "doctest", "faulthandler", "junitxml", "legacypath", "logging",
    "pastebin", "pytester", "recwarn", "stepwise", "threadexception", "unraisableexception",
)  # fmt: skip
"""pytest's own plugins that a case never uses: a child starts sooner without."""


def main(words: Sequence[str] | None = None) -> int:
    """Run what `words` (sys.argv by default) ask for; return the exit code."""
    os.environ["PATH"] = path_with_sbin(os.environ.get("PATH", os.defpath))
    try:
        with _ended_by_signals():
            return _main(parse(sys.argv[1:] if words is None else words))
    except UsageError as error:
        sys.stdout.flush()
        print(f"check: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: say nothing more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_INTERRUPTED


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end everything in good order, as Ctrl-C does."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Whoever ignores SIGHUP (nohup) wants the run to outlive the terminal.
    numbers = [signal.SIGTERM, signal.SIGHUP]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _main(options: Options) -> int:  # noqa: PLR0911  # one for each subcommand
    match options.subcommand:
        case "new":
            from qbdcheck.commands import new

            return new.main(options.arguments, options.suites_dir)
        case "rules":
            from qbdcheck.commands import rules

            return rules.main(options.arguments)
        case "doctor":
            from qbdcheck.commands.doctor import visit

            return visit.main(options.suites_dir)
        case "install":
            from qbdcheck.bootstrap import install

            return install.main(sys.argv[1:])
        case "replay":
            from qbdcheck.commands import replay
            from qbdcheck.targets.mutant_target import profile

            return replay.main(options, profile(options.target, options.targets_dir))
        case "mutants":
            from qbdcheck.mutation import kill_matrix

            return kill_matrix.main(options)
        case "probe":
            from qbdcheck.commands import probe

            return probe.main(options, options.arguments[0])
    if options.list_only:
        return _list(make_plan(options))
    return _run(options)


def _list(plan: Sequence[Planned]) -> int:
    seen: set[str] = set()
    for planned in sorted(plan, key=lambda one: one.case.number):
        case = planned.case
        if case.case_id not in seen:
            text = case.sentence if not case.broken else f"BROKEN: {case.broken}"
            print(f"{case.case_id}  [{' '.join(case.spec.groups)}]  {text}")
        seen.add(case.case_id)
    return 0


def _run(options: Options) -> int:
    """Everything that needs the target.

    :raise UsageError: the run cannot start, or its target does not.
    """
    plan = [] if options.command or options.subcommand else make_plan(options)
    if not options.update_golden:
        for planned in plan:
            if planned.case.prints and not planned.excluded:
                check_golden_files(options.golden_dir, planned.case.case_id)
    # From here on 0.3 s of imports, which neither --help nor a mistyped number needs.
    from qbdcheck.targets.mutant_target import profile

    description = profile(options.target, options.targets_dir, options.suites_dir)
    with Reaper(options.scratch_root, options.keep) as reaper:
        options = replace(options, scratch_root=reaper.scratch_root)
        if options.subcommand == "fio":
            from qbdcheck.commands import fio

            return fio.main(options, description)
        if options.subcommand == "runtest":
            from qbdcheck.commands import runtest

            return runtest.main(options, description)
        if options.command:
            from qbdcheck.commands.exec import run_command

            return run_command(options, description)
        if options.dry_run:
            from qbdcheck.commands.dry_run import show

            return show(options, description, plan)
        return _run_under_pytest(options, plan, reaper)


def _run_under_pytest(options: Options, plan: Sequence[Planned], reaper: Reaper) -> int:
    import pytest

    from qbdcheck import plugin
    from qbdcheck.pytest_integration.session import CheckSession, NoTerminal

    session = CheckSession(options, plan, reaper)
    words = ["--disable-plugin-autoload", "--capture=no", "--tb=short", "--noconftest"]
    words += ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}"]
    words += [word for name in _PLUGINS_OFF for word in ("-p", f"no:{name}")]
    pytest.main([*words, str(options.suites_dir)], plugins=[session, NoTerminal(), plugin])
    if session.error is not None:
        raise session.error
    if session.exit_code is None:
        raise KeyboardInterrupt
    return session.exit_code
