"""Tests in the format of LTP's runtest files, run in a guest: ``NAME COMMAND ARGUMENTS`` lines.

The format and the meaning of exit codes are those of the Linux Test Project (runtest(5) of its
documentation, include/tst_res_flags.h): flags that may come together.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qbdcheck import clock
from qbdcheck.errors import ProgramError, UsageError
from qbdcheck.guest.guest import Guest, GuestFailed
from qbdcheck.programs.process import run

FAIL, BROKEN, WARN, CONF = 1, 2, 4, 32
_FLAGS = ((FAIL, "fail"), (BROKEN, "broken"), (WARN, "warn"), (CONF, "conf"))
ALIASES = {"io": ("aio01", "aio02")}
"""Groups that newer trees no longer have, and the tests that were in them (LTP 20240524)."""
FILE_SYSTEMS = {
    "ext4": ("/sbin/mke2fs -q -t ext4", "/sbin/e2fsck -fn"),
    "xfs": ("modprobe xfs; /sbin/mkfs.xfs -q -f", "/sbin/xfs_repair -n"),
}
"""How each is made, and how it is checked without being mended."""
_LTP = "/opt/ltp"
_PLACE = "/mnt"
_MAKE_S = 180.0


@dataclass(frozen=True)
class Entry:
    """A line of a runtest file."""

    name: str
    command: str


@dataclass(frozen=True)
class TestResult:
    """How a test ended: pass, fail, broken, warn or conf; what it said; seconds that it took."""

    __test__ = False  # for pytest

    name: str
    outcome: str
    said: str
    took_s: float


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


def run_tests(
    guest: Guest,
    entries: Sequence[Entry],
    directory: str,
    *,
    environment: Mapping[str, str] | None = None,
    test_s: float = 120.0,
    suite_s: float = 3600.0,
) -> list[TestResult]:
    """Run tests one after the other, each in a new directory that is removed afterwards.

    :param directory: in the guest, on the file system that is tested.
    :param test_s: seconds until a test is killed, with its children: it fails.
    :param suite_s: seconds for all; tests that find no time are broken.
    :raise GuestFailed: the directory is not on a mounted disk, or the guest died.
    """
    guest.run(f"grep -q ' {directory} ' /proc/mounts")  # in memory all would pass
    variables = " ".join(f"{key}={shlex.quote(is_)}" for key, is_ in (environment or {}).items())
    end_s = clock.now_s() + suite_s
    results = []
    for entry in entries:
        start_s = clock.now_s()
        limit_s = min(test_s, end_s - start_s)
        if limit_s <= 0:
            results.append(TestResult(entry.name, "broken", f"no time left of {suite_s:g} s", 0.0))
            continue
        own = shlex.quote(f"{directory}/{entry.name}")
        line = f"mkdir {own} && cd {own} && export TMPDIR={own} {variables}; {entry.command}"
        running = guest.begin(line)
        try:
            ran = running.wait(limit_s)
            said, how = f"{ran.output}{ran.errors}", outcome(ran.status)
        except TimeoutError:
            said, how = f"killed after {limit_s:g} s", "fail"
        results.append(TestResult(entry.name, how, said, clock.now_s() - start_s))
        guest.run(f"rm -rf {own}")
    return results


def on_file_system(
    guest: Guest, kind: str, entries: Sequence[Entry], log: Callable[..., None], **options: Any
) -> None:
    """Make a file system on a guest's first disk, run tests on it, judge them and then itself.

    :param kind: one of FILE_SYSTEMS.
    :param options: of `run_tests`.
    :raise AssertionError: a test failed, or broke, or none passed.
    :raise GuestFailed: the file system is damaged, or was not made.
    """
    make, check = FILE_SYSTEMS[kind]
    disk = guest.disks[0].path
    guest.run(f"{make} {disk} && mkdir -p {_PLACE} && mount {disk} {_PLACE}", _MAKE_S)
    results = run_tests(guest, entries, _PLACE, **options)
    log(f"{kind}: {summary(results)}")
    log(*(f"{one.name}: {one.outcome}, {one.took_s:.1f} s" for one in results))
    must_pass(results)
    guest.run(f"umount {_PLACE} && {check} {disk} 2>&1", _MAKE_S)


def summary(results: Sequence[TestResult]) -> str:
    """Return how many ended how: ``12 pass, 1 conf``."""
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{count} {how}" for how, count in counts.most_common())


def must_pass(results: Sequence[TestResult]) -> None:
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


class LtpTree:
    """An installed LTP, a directory or a tar file of one, and how it gets into a guest.

    :raise UsageError: it has no runtest files or no tests.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        if path.is_file():
            place = scratch / "ltp"
            place.mkdir(parents=True)
            try:
                run(["tar", "-xf", path, "-C", place])  # which knows all compressions
            except ProgramError as error:
                raise UsageError(
                    f"--ltp {path}: {error}; give a tar file of `make install`"
                ) from None
            path = next((found.parent for found in place.rglob("runtest") if found.is_dir()), place)
        if not (path / "runtest").is_dir() or not (path / "testcases/bin").is_dir():
            raise UsageError(
                f"--ltp {path}: no runtest/ and testcases/bin/ in it; give what LTP's"
                " `make install` made, such as /opt/ltp"
            )
        self.path = path
        self._scratch = scratch

    def entries(self, group: str) -> list[Entry]:
        """Return the tests of a group, such as dio.

        :raise UsageError: the tree has no such file; names those that it has.
        """
        file = self.path / "runtest" / group
        if file.is_file():
            return parse(file.read_text(encoding="utf-8"), f"runtest/{group}")
        if group in ALIASES:
            every = [
                entry
                for one in sorted((self.path / "runtest").iterdir())
                for entry in parse(one.read_text(encoding="utf-8"), f"runtest/{one.name}")
            ]
            return [entry for entry in every if entry.name in ALIASES[group]]
        known = ", ".join(sorted(one.name for one in (self.path / "runtest").iterdir()))
        raise UsageError(f"--ltp {self.path}: no runtest/{group}; there are {known}")

    def put_into(self, guest: Guest) -> dict[str, str]:
        """Mount the tree in a guest at /opt/ltp; return the variables that its tests need.

        :raise GuestFailed: it cannot be mounted.
        """
        image = self._scratch / "ltp.img"
        used = sum(one.stat().st_size for one in self.path.rglob("*") if one.is_file())
        size = used * 5 // 4 + (16 << 20)
        with image.open("wb") as file:
            file.truncate(size)
        words = ["-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"]
        run(["mke2fs", *words, self.path, image])
        node = {"driver": "file", "filename": str(image), "read-only": True}
        disk = guest.attach(node, identity="ltp")
        try:
            guest.run(f"mkdir -p {_LTP} && mount -t ext4 -o ro,noload {disk.path} {_LTP}")
        except GuestFailed as error:
            guest.fail(f"the LTP tree cannot be mounted: {error}")
        return {
            "LTPROOT": _LTP, "PATH": f"{_LTP}/testcases/bin:{guest.run('echo $PATH').strip()}",
            "LD_LIBRARY_PATH": f"{_LTP}/lib:{_LTP}/lib64", "LTP_COLORIZE_OUTPUT": "0",
            "LTP_RUNTIME_MUL": "0.01", "LTP_TIMEOUT_MUL": "5",
        }  # fmt: skip
