"""Tests in the format of LTP's runtest files, run in a guest: ``NAME COMMAND ARGUMENTS`` lines.

The format and the exit codes are those of the Linux Test Project (runtest(5) of its documentation,
include/tst_res_flags.h). Exit codes are flags, and several may be set.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from qbdcheck import clock
from qbdcheck.errors import NotRun, UsageError
from qbdcheck.guest.guest import Guest
from qbdcheck.machine_speed import THIS, Limit, StarvedError, work_s
from qbdcheck.programs.process import run
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
STARVED_NOTE = ", while others used the machine"
RUNTIME_MUL = "0.01"
"""LTP's library refuses less than 0.0099 (lib/tst_test.c). Tests of 30 minutes end in 18 s."""
_LIMITED_BY_RUNTIME = ("read_all",)
"""Programs of LTP that give each of their processes a tenth of the run time, and no less."""
_LIBRARY_S = 30.0
"""The shortest limit of LTP's library for a test, in seconds of the guest's clock."""
_LEAST_TIMEOUT_MUL = 5.0
_LOOP = "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done"
_MOST_FACTOR = 4.0
_MAKE_S = 180.0
_CLEAN_S = 300.0
_SAID = 4000
"""Bytes of a test's output that are kept: the last ones."""
_WRONG = re.compile(r"\b(TFAIL|TBROK|FAIL|BROK)\b")
"""Marks a line of LTP's library, new or old, that says what failed."""
_TOLD = 3
"""Lines of a failed test in its headline."""
_OUTPUT = "/tmp/.runtest.out"
_CGROUP = "/sys/fs/cgroup/qbdcheck-test"
_MOUNT = "grep -q ' /sys/fs/cgroup ' /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup"
_ENTER = (
    f"[ -e /sys/fs/cgroup/cgroup.procs ] && mkdir -p {_CGROUP} && echo $$ > {_CGROUP}/cgroup.procs"
)
"""Requires cgroup 2. In a custom guest without it, only the test's session is killed."""
_REMEMBER = "cut -d' ' -f2 /proc/mounts > /tmp/.mounted"
_UNMOUNT = (
    "cut -d' ' -f2 /proc/mounts | tac | while read -r m; do"
    ' grep -qxF "$m" /tmp/.mounted || umount -l "$m"; done 2>/dev/null;'
    " for d in /sys/block/loop*/loop; do"
    " [ -e $d ] && p=${d%/loop} && losetup -d /dev/${p##*/}; done 2>/dev/null"
)
"""Unmounts what is mounted now and was not before the test, the last first; frees loop devices."""
_KILL_ALL = (
    f"n=0; while [ -e {_CGROUP} ] && ! rmdir {_CGROUP} 2>/dev/null && [ $n -lt 100 ]; do"
    f" for p in $(cat {_CGROUP}/cgroup.procs); do kill -9 $p; done 2>/dev/null;"
    " sleep 0.05; n=$((n+1)); done"
)
"""A cgroup can be removed when it has no process."""


@dataclass(frozen=True)
class Entry:
    """A line of a runtest file.

    :ivar skip: why it is not run; "" to run it.
    """

    name: str
    command: str
    skip: str = ""


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
    that left its session. What it mounted is unmounted, also if it is busy.

    :param limit_s: seconds of work until the test is killed; its outcome is then TIMED_OUT.
    :raise GuestFailed: the guest died.
    """
    own = shlex.quote(f"{directory}/{entry.name}")
    variables = {**multipliers(entry.command, limit_s), **environment}
    exported = " ".join(f"{key}={shlex.quote(is_)}" for key, is_ in variables.items())
    start_s = clock.now_s()
    # The output goes to a file: a process that is left behind would keep a pipe open.
    line = f"exec > {_OUTPUT} 2>&1; {_REMEMBER}; {_ENTER}; mkdir {own} && cd {own} && "
    line += f"export TMPDIR={own} TMP={own} {exported}; {entry.command}"
    running = guest.begin(line)
    note, status, load = "", 0, None
    try:
        status = running.wait(limit_s).status
        how = outcome(status)
    except TimeoutError:
        how, note = TIMED_OUT, f"killed after {round(limit_s, 1):g} s"
        recent = THIS.recent()
        if recent.is_starved:
            note, load = note + STARVED_NOTE, recent
    elapsed_s = clock.now_s() - start_s
    clean = f"{_KILL_ALL}; {_UNMOUNT}; rm -rf {own}; tail -c {_SAID} {_OUTPUT}; rm -f {_OUTPUT}"
    said = guest.run(clean, _CLEAN_S)
    if how != "pass" and not said.strip() and not note:
        note = f"exit status {status}, without output"
    text = "\n".join(filter(None, (said.rstrip(), note)))
    return TestEnded(entry.name, how, elapsed_s, text, load)


def multipliers(command: str, limit_s: float) -> dict[str, str]:
    """Return the multipliers of LTP's library (setup-tests in its documentation) for a command.

    The library kills a test after 30 s and more of the guest's clock, which knows nothing of the
    load of the host. So its limit is put behind ours. A test whose run time is the limit of its own
    workers gets all of it.
    """
    slow = max(THIS.slowdown, 1.0)
    timeout = max(limit_s * slow / _LIBRARY_S, _LEAST_TIMEOUT_MUL)
    found = {"LTP_TIMEOUT_MUL": f"{min(timeout, 10000):.0f}"}
    if set(_LIMITED_BY_RUNTIME) & set(command.split()):
        found["LTP_RUNTIME_MUL"] = f"{min(2 * slow, 100):.0f}"
    else:
        found["LTP_RUNTIME_MUL"] = RUNTIME_MUL
    return found


def limit_factor(guest: Guest) -> float:
    """Return by which factor tests take longer in a guest than on the host: 1 to 4.

    A loop of the shell is run in both. I/O is slowed down less than that, so the factor is limited.
    """
    if guest.accelerator == "kvm":
        return 1.0
    elapsed_s = []
    for execute in (lambda line: run(["sh", "-c", line], timeout_s=60), guest.execute):
        start_s = work_s()
        execute(_LOOP)
        elapsed_s.append(max(work_s() - start_s, 1e-3))
    return min(max(elapsed_s[1] / elapsed_s[0], 1.0), _MOST_FACTOR)


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
    :param test_s: seconds of work until a test is killed with all its processes.
    :param suite_s: seconds of work for the first round; the tests that have no time left are
        broken.
    :param soak_s: seconds for which the rounds are repeated; it ends between two tests. Tests of
        the second round are named ``dio01#2``.
    :param ended: called after each test.
    :raise GuestFailed: the directory is not on a mounted disk, or the guest died.
    """
    guest.run(f"grep -q ' {directory} ' /proc/mounts")  # in memory all would pass
    guest.execute(_MOUNT)
    start_s = clock.now_s()
    suite = Limit(suite_s)
    results: list[TestEnded] = []
    for number in count(1):
        for entry in entries:
            if number > 1 and clock.now_s() - start_s >= soak_s:
                return results
            if entry.skip:
                one = TestEnded(entry.name, "conf", 0.0, entry.skip)
            elif number == 1 and suite.is_over:
                one = TestEnded(entry.name, "broken", 0.0, f"no time left of {suite_s:g} s")
            else:
                limit_s = test_s if number > 1 else min(test_s, suite.total_left_s)
                one = run_test(guest, entry, directory, limit_s, environment or {})
            results.append(replace(one, name=f"{one.name}#{number}") if number > 1 else one)
            ended(results[-1])
        if clock.now_s() - start_s >= soak_s or all(entry.skip for entry in entries):
            break
    return results


class Runtest:
    """Runs tests on a file system of a guest's first disk, and checks both.

    :param soak_s: seconds for which each suite is repeated; 0 runs it once.
    :param ended: called after each test. Names begin with the file system: ``ext4 dio01``.
    :param choose: returns those of the entries that are to be run.
    :param logs: a directory for write logs of volumes; None if the target cannot write them.
    """

    def __init__(
        self,
        log: Callable[..., None],
        soak_s: float,
        ended: Callable[[TestEnded], None],
        choose: Callable[[Sequence[Entry]], Sequence[Entry]] = list,
        logs: Path | None = None,
    ) -> None:
        self.logs = logs
        self._choose = choose
        self._log = log
        self.soak_s = soak_s
        self._ended = ended

    def chosen(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the entries that are to be run.

        :raise NotRun: there is none.
        """
        if not (found := self._choose(entries)):
            raise NotRun("no test of it matches --only-tests")
        return found

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
        :raise StarvedError: tests timed out while others used the machine, and no other one failed.
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
        :raise StarvedError: tests timed out while others used the machine, and no other one failed.
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


def _telling(said: str) -> list[str]:
    """Return the lines of a test's output that say what failed; the last lines if none does."""
    lines = said.strip().splitlines()
    wrong = [line for line in lines if _WRONG.search(line)]
    return wrong[:_TOLD] or said.strip()[-600:].splitlines()


def must_pass(results: Sequence[TestEnded]) -> None:
    """Check that no test failed, broke or timed out, and that at least one passed.

    :raise AssertionError: names the first that did not pass.
    :raise StarvedError: all of these timed out while others used the machine.
    """
    bad = [result for result in results if result.outcome in {"fail", "broken", TIMED_OUT}]
    if bad:
        first = next((result for result in bad if result.starved is None), bad[0])
        # One line: the line of a failure that reports show is the one with the name.
        said = " / ".join(_telling(first.said))
        message = f"{first.name}: {first.outcome}: {said}; in all {summary(results)}"
        raise StarvedError(message, first.starved) if first.starved else AssertionError(message)
    if not any(result.outcome == "pass" for result in results):
        raise AssertionError(f"nothing passed: {summary(results)}")
