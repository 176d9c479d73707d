"""Tests in the format of LTP's runtest files, run in a guest: ``NAME COMMAND ARGUMENTS`` lines.

The format and the meaning of exit codes are those of the Linux Test Project (runtest(5) of its
documentation, include/tst_res_flags.h): flags that may come together.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from qbdcheck import clock
from qbdcheck.errors import UsageError
from qbdcheck.guest.guest import Guest
from qbdcheck.report.events import TestEnded

FAIL, BROKEN, WARN, CONF = 1, 2, 4, 32
_FLAGS = ((FAIL, "fail"), (BROKEN, "broken"), (WARN, "warn"), (CONF, "conf"))
FILE_SYSTEMS = {
    "ext4": ("/sbin/mke2fs -q -t ext4", "/sbin/e2fsck -fn"),
    "xfs": ("modprobe xfs; /sbin/mkfs.xfs -q -f", "/sbin/xfs_repair -n"),
}
"""How each is made, and how it is checked without being mended."""
PLACE = "/mnt"
"""Where the file system is mounted that tests run on."""
_MAKE_S = 180.0
_SAID = 4000
"""Characters that are kept of what a test says; the end tells most."""


@dataclass(frozen=True)
class Entry:
    """A line of a runtest file."""

    name: str
    command: str


def parse(text: str, source: str = "runtest file") -> list[Entry]:
    """Return the tests of a file.

    :raise UsageError: a line has a name and no command, or a name comes twice; names the line.
    """
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 1:
            raise UsageError(f"{source}, line {number}: {words[0]!r} has no command")
        if words[0] in found:
            raise UsageError(f"{source}, line {number}: {words[0]!r} is there twice")
        found[words[0]] = Entry(words[0], words[1])
    return list(found.values())


def outcome(status: int) -> str:
    """Return what an exit status says; the worst of several flags counts."""
    if status == 0:
        return "pass"
    if status & ~(FAIL | BROKEN | WARN | CONF):
        return "fail"  # a signal, a command that is not there: no test of LTP ends so
    return next(name for flag, name in _FLAGS if status & flag)


def run_test(
    guest: Guest, entry: Entry, directory: str, limit_s: float, environment: Mapping[str, str]
) -> TestEnded:
    """Run one test in a new directory below `directory`, which is removed afterwards.

    :param limit_s: seconds until it is killed, with its children: it fails.
    :raise GuestFailed: the guest died.
    """
    own = shlex.quote(f"{directory}/{entry.name}")
    variables = " ".join(f"{key}={shlex.quote(is_)}" for key, is_ in environment.items())
    start_s = clock.now_s()
    line = f"mkdir {own} && cd {own} && export TMPDIR={own} TMP={own} {variables}; {entry.command}"
    running = guest.begin(line)
    try:
        ran = running.wait(limit_s)
        said, how = f"{ran.output}{ran.errors}", outcome(ran.status)
    except TimeoutError:
        said, how = f"killed after {round(limit_s, 1):g} s", "fail"
    elapsed_s = clock.now_s() - start_s
    guest.run(f"rm -rf {own}")
    return TestEnded(entry.name, how, elapsed_s, said[-_SAID:])


def run_tests(
    guest: Guest,
    entries: Sequence[Entry],
    directory: str,
    *,
    environment: Mapping[str, str] | None = None,
    test_s: float = 120.0,
    suite_s: float = 3600.0,
    soak_s: float = 0.0,
    ended: Callable[[TestEnded], None] = lambda _: None,
) -> list[TestEnded]:
    """Run tests one after the other, each in a directory of its own.

    :param directory: in the guest, on the file system that is tested.
    :param test_s: seconds until a test is killed, with its children: it fails.
    :param suite_s: seconds for all, once; tests that find no time are broken.
    :param soak_s: seconds for which they are repeated, round after round; ends between two tests.
        Those of the second round are named ``dio01#2``.
    :param ended: called after each.
    :raise GuestFailed: the directory is not on a mounted disk, or the guest died.
    """
    guest.run(f"grep -q ' {directory} ' /proc/mounts")  # in memory all would pass
    start_s = clock.now_s()
    results: list[TestEnded] = []
    for number in count(1):
        for entry in entries:
            gone_s = clock.now_s() - start_s
            if number > 1 and gone_s >= soak_s:
                return results
            if number == 1 and gone_s >= suite_s:
                one = TestEnded(entry.name, "broken", 0.0, f"no time left of {suite_s:g} s")
            else:
                limit_s = test_s if number > 1 else min(test_s, suite_s - gone_s)
                one = run_test(guest, entry, directory, limit_s, environment or {})
            results.append(replace(one, name=f"{one.name}#{number}") if number > 1 else one)
            ended(results[-1])
        if clock.now_s() - start_s >= soak_s:
            break
    return results


class Runtest:
    """Runs tests on a file system of a guest's first disk, and judges both.

    :param soak_s: seconds for which each suite is repeated; 0 runs it once.
    :param ended: called after each test, whose name begins with the file system's:
        ``ext4 dio01``.
    """

    def __init__(
        self, log: Callable[..., None], soak_s: float, ended: Callable[[TestEnded], None]
    ) -> None:
        self._log = log
        self.soak_s = soak_s
        self._ended = ended

    def __call__(
        self,
        guest: Guest,
        kind: str,
        entries: Sequence[Entry],
        *,
        environment: Mapping[str, str] | None = None,
        test_s: float = 120.0,
        suite_s: float = 3600.0,
    ) -> list[TestEnded]:
        """Make a file system, run tests on it, judge them and then the file system itself.

        :param kind: one of FILE_SYSTEMS. The others are as of `run_tests`.
        :raise AssertionError: a test failed, or broke, or none passed.
        :raise GuestFailed: the file system is damaged, or was not made.
        """
        more = {**(environment or {}), "LTP_DEV_FS_TYPE": kind}

        def run(ended: Callable[[TestEnded], None]) -> list[TestEnded]:
            return run_tests(
                guest,
                entries,
                PLACE,
                environment=more,
                test_s=test_s,
                suite_s=suite_s,
                soak_s=self.soak_s,
                ended=ended,
            )

        return self.judged(guest, kind, run)

    def judged(
        self,
        guest: Guest,
        kind: str,
        run: Callable[[Callable[[TestEnded], None]], list[TestEnded]],
    ) -> list[TestEnded]:
        """Make a file system, let something run tests on it, and judge them and it.

        :param run: runs them below PLACE; calls what it is given after each.
        :raise AssertionError: a test failed, or broke, or none passed.
        :raise GuestFailed: the file system is damaged, or was not made.
        """
        make, check = FILE_SYSTEMS[kind]
        disk = guest.disks[0].path
        guest.run(f"{make} {disk} && mkdir -p {PLACE} && mount {disk} {PLACE}", _MAKE_S)

        def ended(one: TestEnded) -> None:
            said = one.said.strip() if one.outcome != "pass" else ""
            self._ended(replace(one, name=f"{kind} {one.name}", said=said))

        results = run(ended)
        self._log(f"{kind}: {summary(results)}")
        for one in results:
            self._log(f"{kind} {one.name}: {one.outcome}, {one.elapsed_s:.1f} s")
            if one.outcome != "pass":
                self._log(one.said)
        must_pass(results)
        guest.run(f"umount {PLACE} && {check} {disk} 2>&1", _MAKE_S)
        return results


def summary(results: Sequence[TestEnded]) -> str:
    """Return how many ended how: ``12 pass, 1 conf``."""
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{number} {how}" for how, number in counts.most_common())


def as_kirk(results: Sequence[TestEnded], entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the results as LTP's runner kirk writes them (its JSON report), for what reads those.

    :param entries: what was run, for the commands.
    """
    commands = {entry.name: entry.command for entry in entries}
    words = {"broken": "brok"}
    counted = {"pass": "passed", "fail": "failed", "broken": "broken", "conf": "skipped",
               "warn": "warnings"}  # fmt: skip
    told = []
    for one in results:
        command = commands.get(one.name.rpartition(" ")[2].partition("#")[0], "")
        status = words.get(one.outcome, one.outcome)
        counts = {name: int(how == one.outcome) for how, name in counted.items()}
        test = {"command": command.partition(" ")[0], "arguments": command.split()[1:],
                "log": one.said, "duration": one.elapsed_s, "result": status, **counts}  # fmt: skip
        told.append({"test_fqn": one.name, "status": status, "test": test})
    sums = {name: sum(how == one.outcome for one in results) for how, name in counted.items()}
    stats = {"runtime": sum(one.elapsed_s for one in results), **sums}
    return {"results": told, "stats": stats, "environment": {}}


def must_pass(results: Sequence[TestEnded]) -> None:
    """Judge.

    :raise AssertionError: a test failed or broke, or not a single one passed; names the first.
    """
    bad = [result for result in results if result.outcome in {"fail", "broken"}]
    if bad:
        first = bad[0]
        raise AssertionError(
            f"{first.name}: {first.outcome}: {first.said.strip()[-600:]}; in all {summary(results)}"
        )
    if not any(result.outcome == "pass" for result in results):
        raise AssertionError(f"nothing passed: {summary(results)}")
