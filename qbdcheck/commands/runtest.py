"""`./check runtest FILE|GROUP... [SIZE]`: run tests in LTP's format in a guest on the target.

The command does what `runltp -f GROUPS -d DIR -t TIME -o LOG` does on a machine. GROUP is a file in
the LTP tree of --ltp; without --ltp it is a file in suites/guest/runtest. Each file system gets a
new volume of SIZE bytes (default 1200M). With --kirk, LTP's own runner runs the tests.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from blockio.sizes import parse_size
from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import COMMAND, why_unreadable
from qbdcheck.guest.choice import TestChoice
from qbdcheck.guest.kirk import run_kirk
from qbdcheck.guest.ltp_tree import LtpTree
from qbdcheck.guest.runtest import (
    FILE_SYSTEMS,
    Entry,
    Runtest,
    as_kirk,
    limit_factor,
    parse,
    summary,
)
from qbdcheck.kit.guests import Guests
from qbdcheck.machine_speed import StarvedError
from qbdcheck.options import Execution, GuestOptions, TargetOptions
from qbdcheck.report.events import TestEnded
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession

USAGE = f"usage: {COMMAND} runtest FILE|GROUP... [SIZE]; SIZE of the volume, such as 1200M"
OWN = "guest/runtest"
"""The directory with the project's own files in LTP's format, below the suites directory."""
_TEST_S = 600.0
_SUITE_S = 86400.0
_SHOWN = 10


class _Progress:
    """Writes the outcome of each test to standard output and to a log as ``runltp -o`` does."""

    def __init__(self, log: Path) -> None:
        self.results: list[TestEnded] = []
        self._log = log

    def log(self, *_values: object) -> None:
        """Do nothing: `ended` writes the log."""

    def ended(self, one: TestEnded) -> None:
        self.results.append(one)
        sys.stdout.write(f"{one.outcome:9} {one.elapsed_s:7.1f} s  {one.name}\n")
        sys.stdout.flush()
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{one.name} {one.outcome.upper()} {one.elapsed_s:.1f}\n")
            file.writelines(f"    {line}\n" for line in one.said.splitlines())


def main(
    arguments: tuple[str, ...],
    *,
    target: TargetOptions,
    execution: Execution,
    guest_options: GuestOptions,
    description: Description,
    suites_dir: Path,
    json_file: Path | None = None,
) -> ExitCode:
    """Run the tests that `arguments` name; return GREEN if all passed, else RED.

    :raise UsageError: a file or group does not exist or has no tests; nothing was started.
    :raise SetupError: no guest can run, or the target does not start.
    """
    groups, size = _arguments(arguments)
    scratch = execution.scratch_root / "0"
    scratch.mkdir(mode=0o700)
    execution.results_dir.mkdir(parents=True, exist_ok=True)
    tree = LtpTree(guest_options.ltp, scratch) if guest_options.ltp else None
    if guest_options.kirk and tree is None:
        raise UsageError("--kirk requires --ltp PATH: it runs the groups of an LTP tree")
    every = [entry for group in groups for entry in _entries(group, tree, suites_dir)]
    entries = _chosen(every, guest_options)
    log = execution.results_dir / "runtest.log"
    progress = _Progress(log)
    session = TargetSession(
        description,
        target,
        scratch,
        execution=execution,
        guest_options=guest_options,
        image_format=target.formats[0],
        case_id="runtest",
        capabilities=capabilities(description, target, execution.scratch_root),
    )
    guests = Guests(session, scratch)
    run = Runtest(progress.log, execution.soak_s / len(FILE_SYSTEMS), progress.ended)
    failures = []
    try:
        for kind in FILE_SYSTEMS:
            disks = [session.new_disk(size, prefill=False) for _ in range(2 if tree else 1)]
            guest = guests(*disks)
            sys.stdout.write(f"{description.name}: {size} bytes, {kind}\n")
            try:
                environment = tree.put_into(guest) if tree else {}
                test_s = execution.timeout_s or _TEST_S * limit_factor(guest)
                suite_s = execution.suite_timeout_s or _SUITE_S
                if guest_options.kirk:
                    run.judged(
                        guest,
                        kind,
                        partial(
                            run_kirk, guest, groups, environment, execution.results_dir,
                            test_s=test_s, suite_s=suite_s, soak_s=run.soak_s,
                        ),
                    )  # fmt: skip
                else:
                    limits = {"test_s": test_s, "suite_s": suite_s}
                    run(guest, kind, entries, environment=environment, **limits)
                guest.settle()
            except (AssertionError, ProgramError, StarvedError) as error:
                failures.append(f"{kind}: {error}")
            guest.quit()
    except (NotRun, CaseBroken) as error:
        raise SetupError(f"{COMMAND} runtest: {error}") from None
    except KeyboardInterrupt:
        _write(progress, entries, log, json_file, [*failures, "interrupted"])
        raise
    finally:
        guests.close()
        session.close()
    _write(progress, entries, log, json_file, failures)
    return ExitCode.RED if failures else ExitCode.GREEN


def _chosen(every: Sequence[Entry], options: GuestOptions) -> Sequence[Entry]:
    """Return the tests that --only-tests and --skip-tests leave.

    :raise UsageError: there is none, or --kirk chooses for itself.
    """
    choice = TestChoice.of(options.tests, options.skip_tests)
    if options.kirk and choice != TestChoice():
        raise UsageError("--only-tests and --skip-tests cannot be used with --kirk")
    entries = choice.apply(every)
    if all(entry.skip for entry in entries):
        names = ", ".join(dict.fromkeys(entry.name for entry in every[:_SHOWN]))
        raise UsageError(f"--only-tests and --skip-tests leave no test; the first are {names}")
    return entries


def _write(
    progress: _Progress,
    entries: Sequence[Entry],
    log: Path,
    json_file: Path | None,
    failures: Sequence[str],
) -> None:
    """Write the report and the summary of the tests that have ended."""
    if json_file is not None:
        text = json.dumps(as_kirk(progress.results, entries), indent=1)
        json_file.write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"{summary(progress.results)}\noutput  {log}\n")
    sys.stdout.writelines(f"FAIL  {failure}\n" for failure in failures)
    sys.stdout.flush()


def _arguments(given: tuple[str, ...]) -> tuple[list[str], int]:
    *names, last = given or ("",)
    if names and re.fullmatch(r"\d+[KMGT]", last) and not Path(last).exists():
        return names, parse_size(last)
    if not last:
        raise UsageError(USAGE)
    return [*names, last], parse_size("1200M")


def _entries(group: str, tree: LtpTree | None, suites: Path) -> list[Entry]:
    """Return the tests of a file or group.

    :raise UsageError: the file or group does not exist, or has no tests.
    """
    if not (found := _read_entries(group, tree, suites)):
        raise UsageError(f"{group}: it has no tests; add a line NAME COMMAND")
    return found


def _read_entries(group: str, tree: LtpTree | None, suites: Path) -> list[Entry]:
    path = Path(group)
    if path.is_file():
        return _read(path)
    if tree is not None:
        return tree.entries(group)
    own = suites / OWN / group
    if "/" not in group and own.is_file():
        return _read(own)
    known = ", ".join(sorted(file.name for file in (suites / OWN).iterdir()))
    raise UsageError(f"{group}: no such file; without --ltp the groups are {known}; {USAGE}")


def _read(path: Path) -> list[Entry]:
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a runtest file: {why_unreadable(error)}") from None
