"""`./check runtest FILE|GROUP... [SIZE]`: run tests in LTP's format in a guest on the target.

It does what `runltp -f GROUPS -d DIR -t TIME -o LOG` does on a machine. GROUP is a file of the tree
that --ltp names, or without --ltp a file of suites/guest/runtest. Each file system gets a new
volume of SIZE bytes (default 1200M). With --kirk, LTP's own runner runs the tests.
"""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path

from blockio.sizes import parse_size
from qbdcheck.errors import NotRun, ProgramError, SetupError, UsageError
from qbdcheck.guest.kirk import run_kirk
from qbdcheck.guest.ltp_tree import LtpTree
from qbdcheck.guest.runtest import FILE_SYSTEMS, Entry, Runtest, as_kirk, parse, summary
from qbdcheck.kit.guests import Guests
from qbdcheck.options import Execution, GuestOptions, TargetOptions
from qbdcheck.report.events import TestEnded
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession

USAGE = "usage: ./check runtest FILE|GROUP... [SIZE]; SIZE is the volume's, such as 1200M"
OWN = "guest/runtest"
"""The directory of the project's files in LTP's format, below the suites."""
_TEST_S = 600.0
_SUITE_S = 86400.0


class _Progress:
    """Writes how each test ended to standard output, and to a log like that of ``runltp -o``."""

    def __init__(self, log: Path) -> None:
        self.results: list[TestEnded] = []
        self._log = log

    def log(self, *_values: object) -> None:
        """Ignore what a case would log: the log file has it already."""

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
) -> int:
    """Run the tests that `arguments` name; return 0 if all passed, else 1.

    :raise UsageError: there is no such file or group, or it has no test; nothing was started.
    :raise SetupError: no guest, or no target.
    """
    groups, size = _arguments(arguments)
    scratch = execution.scratch_root / "0"
    scratch.mkdir(mode=0o700)
    execution.results_dir.mkdir(parents=True, exist_ok=True)
    tree = LtpTree(guest_options.ltp, scratch) if guest_options.ltp else None
    if guest_options.kirk and tree is None:
        raise UsageError("--kirk runs the groups of an LTP tree: name one with --ltp")
    entries: list[Entry] = []
    for word in groups:
        found = _entries(word, tree, suites_dir)
        if not found:
            raise UsageError(f"{word}: no test in it; add a line NAME COMMAND")
        entries += found
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
            guest = guests(session.new_disk(size, prefill=False))
            sys.stdout.write(f"{description.name}: {size} bytes, {kind}\n")
            try:
                environment = tree.put_into(guest) if tree else {}
                test_s = execution.timeout_s or _TEST_S
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
                    run(
                        guest,
                        kind,
                        entries,
                        environment=environment,
                        test_s=test_s,
                        suite_s=suite_s,
                    )
                guest.settle()
            except (AssertionError, ProgramError) as error:
                failures.append(f"{kind}: {error}")
            guest.quit()
    except NotRun as error:
        raise SetupError(f"./check runtest: {error}") from None
    finally:
        guests.close()
        session.close()
    if json_file is not None:
        text = json.dumps(as_kirk(progress.results, entries), indent=1)
        json_file.write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"{summary(progress.results)}\noutput  {log}\n")
    sys.stdout.writelines(f"FAIL  {failure}\n" for failure in failures)
    return 1 if failures else 0


def _arguments(given: tuple[str, ...]) -> tuple[list[str], int]:
    *names, last = given or ("",)
    if names and re.fullmatch(r"\d+[KMGT]", last) and not Path(last).exists():
        return names, parse_size(last)
    if not last:
        raise UsageError(USAGE)
    return [*names, last], parse_size("1200M")


def _entries(word: str, tree: LtpTree | None, suites: Path) -> list[Entry]:
    path = Path(word)
    if path.is_file():
        return _read(path)
    if tree is not None:
        return tree.entries(word)
    own = suites / OWN / word
    if "/" not in word and own.is_file():
        return _read(own)
    known = ", ".join(sorted(file.name for file in (suites / OWN).iterdir()))
    raise UsageError(f"{word}: no such file, and without --ltp the groups are {known}; {USAGE}")


def _read(path: Path) -> list[Entry]:
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a runtest file: {error}") from None
