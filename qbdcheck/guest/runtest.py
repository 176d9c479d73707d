"""Tests in the format of LTP's runtest files, run in a guest: ``NAME COMMAND ARGUMENTS`` lines.

The format and the exit codes are those of the Linux Test Project (runtest(5) of its documentation,
include/tst_res_flags.h). Exit codes are flags, and several may be set.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from qbdcheck import clock
from qbdcheck.errors import UsageError
from qbdcheck.guest.guest import Guest
from qbdcheck.machine_speed import must_not_be_starved
from qbdcheck.report.events import TestEnded

FAIL, BROKEN, WARN, CONF = 1, 2, 4, 32
_FLAGS = ((FAIL, "fail"), (BROKEN, "broken"), (WARN, "warn"), (CONF, "conf"))
FILE_SYSTEMS = {
    "ext4": ("/sbin/mke2fs -q -t ext4", "/sbin/e2fsck -fn"),
    "xfs": ("modprobe xfs; /sbin/mkfs.xfs -q -f", "/sbin/xfs_repair -n"),
}
"""For each file system, the commands that make it and that check it without repair."""
PLACE = "/mnt"
"""The mount point of the file system that tests run on."""
TIMED_OUT = "timed out"
_MAKE_S = 180.0
_SAID = 4000
"""Bytes of a test's output that are kept: the last ones."""
_OUTPUT = "/tmp/.runtest.out"
_CGROUP = "/sys/fs/cgroup/qbdcheck-test"
_MOUNT = "grep -q ' /sys/fs/cgroup ' /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup"
_ENTER = (
    f"[ -e /sys/fs/cgroup/cgroup.procs ] && mkdir -p {_CGROUP} && echo $$ > {_CGROUP}/cgroup.procs"
)
"""Requires cgroup 2. In a custom guest without it, only the test's session is killed."""
_KILL_ALL = (
    f"n=0; while [ -e {_CGROUP} ] && ! rmdir {_CGROUP} 2>/dev/null && [ $n -lt 100 ]; do"
    f" for p in $(cat {_CGROUP}/cgroup.procs); do kill -9 $p; done 2>/dev/null;"
    " sleep 0.05; n=$((n+1)); done"
)
"""A cgroup can be removed when it has no process."""


@dataclass(frozen=True)
class Entry:
    """A line of a runtest file."""

    name: str
    command: str


def parse(text: str, source: str = "runtest file") -> list[Entry]:
    """Return the tests of a file, in order. Two entries with one name are two tests.

    :raise UsageError: a line has a name and no command; names the line.
    """
    found: list[Entry] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 1:
            raise UsageError(f"{source}, line {number}: {words[0]!r} has no command")
        found.append(Entry(words[0], words[1]))
    return found


def outcome(status: int) -> str:
    """Return the outcome of an exit status; the worst of several flags counts."""
    if status == 0:
        return "pass"
    if status & ~(FAIL | BROKEN | WARN | CONF):
        return "fail"  # a signal, or a command that does not exist
    return next(name for flag, name in _FLAGS if status & flag)


def run_test(
    guest: Guest, entry: Entry, directory: str, limit_s: float, environment: Mapping[str, str]
) -> TestEnded:
    """Run one test in a new directory below `directory`, which is removed afterwards.

    The test runs in a cgroup of its own. At its end all processes in there are killed, also those
    that left its session.

    :param limit_s: seconds until the test is killed; its outcome is then TIMED_OUT.
    :raise GuestFailed: the guest died.
    :raise TimeoutError: the test was killed while the host was starved.
    """
    own = shlex.quote(f"{directory}/{entry.name}")
    variables = " ".join(f"{key}={shlex.quote(is_)}" for key, is_ in environment.items())
    start_s = clock.now_s()
    # The output goes to a file: a process that is left behind would keep a pipe open.
    line = f"exec > {_OUTPUT} 2>&1; {_ENTER}; mkdir {own} && cd {own} && "
    line += f"export TMPDIR={own} TMP={own} {variables}; {entry.command}"
    running = guest.begin(line)
    note, status = "", 0
    try:
        status = running.wait(limit_s).status
        how = outcome(status)
    except TimeoutError:
        how, note = TIMED_OUT, f"killed after {round(limit_s, 1):g} s"
        must_not_be_starved(f"{entry.name}: {note}")
    elapsed_s = clock.now_s() - start_s
    said = guest.run(f"{_KILL_ALL}; rm -rf {own}; tail -c {_SAID} {_OUTPUT}; rm -f {_OUTPUT}")
    if how != "pass" and not said.strip() and not note:
        note = f"exit status {status}, without output"
    return TestEnded(entry.name, how, elapsed_s, "\n".join(filter(None, (said.rstrip(), note))))


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
    :param test_s: seconds until a test is killed with all its processes.
    :param suite_s: seconds for the first round; the tests that have no time left are broken.
    :param soak_s: seconds for which the rounds are repeated; it ends between two tests. Tests of
        the second round are named ``dio01#2``.
    :param ended: called after each test.
    :raise GuestFailed: the directory is not on a mounted disk, or the guest died.
    """
    guest.run(f"grep -q ' {directory} ' /proc/mounts")  # in memory all would pass
    guest.execute(_MOUNT)
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
    """Runs tests on a file system of a guest's first disk, and checks both.

    :param soak_s: seconds for which each suite is repeated; 0 runs it once.
    :param ended: called after each test. Names begin with the file system: ``ext4 dio01``.
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
        """Make a file system, run tests on it, check their outcomes and the file system.

        :param kind: a key of FILE_SYSTEMS. The other parameters are those of `run_tests`.
        :raise AssertionError: a test failed or broke, or none passed.
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
        """Make a file system, call a function that runs tests on it, and check both.

        :param run: runs tests below PLACE, and calls its argument after each.
        :raise AssertionError: a test failed or broke, or none passed.
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
    """Return the number of tests by outcome: ``12 pass, 1 conf``."""
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{number} {how}" for how, number in counts.most_common())


def as_kirk(results: Sequence[TestEnded], entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the results in the form of LTP's runner kirk (its JSON report).

    :param entries: the tests that were run, for their commands.
    """
    commands: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        commands[entry.name].append(entry.command)
    status_names = {"broken": "brok", TIMED_OUT: "brok"}
    counted = {"passed": ("pass",), "failed": ("fail",), "broken": ("broken", TIMED_OUT),
               "skipped": ("conf",), "warnings": ("warn",)}  # fmt: skip
    seen: Counter[str] = Counter()
    listed = []
    for one in results:
        known = commands.get(one.name.rpartition(" ")[2].partition("#")[0], [""])
        command = known[seen[one.name] % len(known)]
        seen[one.name] += 1
        status = status_names.get(one.outcome, one.outcome)
        counts = {name: int(one.outcome in which) for name, which in counted.items()}
        test = {"command": command.partition(" ")[0], "arguments": command.split()[1:],
                "log": one.said, "duration": one.elapsed_s, "result": status, **counts}  # fmt: skip
        listed.append({"test_fqn": one.name, "status": status, "test": test})
    sums = {name: sum(one.outcome in which for one in results) for name, which in counted.items()}
    stats = {"runtime": sum(one.elapsed_s for one in results), **sums}
    return {"results": listed, "stats": stats, "environment": {}}


def must_pass(results: Sequence[TestEnded]) -> None:
    """Check that no test failed, broke or timed out, and that at least one passed.

    :raise AssertionError: names the first that did not pass.
    """
    bad = [result for result in results if result.outcome in {"fail", "broken", TIMED_OUT}]
    if bad:
        first = bad[0]
        raise AssertionError(
            f"{first.name}: {first.outcome}: {first.said.strip()[-600:]}; in all {summary(results)}"
        )
    if not any(result.outcome == "pass" for result in results):
        raise AssertionError(f"nothing passed: {summary(results)}")
