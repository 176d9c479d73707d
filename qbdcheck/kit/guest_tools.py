"""Tools for cases in a guest: devices, files, groups of tests, and parsers of programs' output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qbdcheck.guest.agent import Running
from qbdcheck.guest.blktrace import dropped, parse_btt, parse_events, parse_totals
from qbdcheck.guest.devices import Device
from qbdcheck.guest.file_set import FileSet
from qbdcheck.guest.guest import Guest
from qbdcheck.guest.iostat import parse_iostat
from qbdcheck.guest.ltp_tree import LtpTree
from qbdcheck.guest.runtest import FILE_SYSTEMS, Runtest, limit_factor, parse
from qbdcheck.guest.synced_files import SyncedFiles
from qbdcheck.kit.logged_volume import LoggedVolumes
from qbdcheck.targets.disk import Disk

__all__ = [
    "Device",
    "FileSet",
    "LoggedVolumes",
    "Running",
    "SyncedFiles",
    "dropped",
    "parse_btt",
    "parse_events",
    "parse_iostat",
    "parse_totals",
    "run_ltp_groups",
    "run_runtest_file",
]
_FILE_SIZE, _LTP_SIZE = "320M", "1200M"
_LTP_TEST_S, _LTP_SUITE_S = 600.0, 7200.0


def run_runtest_file(
    file: Path, new_disk: Callable[..., Disk], guest: Callable[..., Guest], runtest: Runtest
) -> None:
    """Run a file in LTP's format on each file system, each on a new volume of 320 MiB.

    :raise AssertionError: a test did not pass. :raise GuestFailed: the file system is damaged.
    """
    entries = runtest.chosen(parse(file.read_text(encoding="utf-8"), file.name))
    for kind in FILE_SYSTEMS:
        logged = LoggedVolumes(runtest.logs)
        system = guest(*_disks(1, _FILE_SIZE, new_disk, logged))
        with logged.checked(kind, system.quit):
            runtest(system, kind, entries)


def run_ltp_groups(
    groups: Sequence[str],
    ltp: LtpTree,
    new_disk: Callable[..., Disk],
    guest: Callable[..., Guest],
    runtest: Runtest,
) -> None:
    """Run groups of LTP's tests on each file system, each on two new volumes of 1200 MiB.

    :raise AssertionError: a test did not pass. :raise GuestFailed: the file system is damaged.
    """
    entries = runtest.chosen([entry for group in groups for entry in ltp.entries(group)])
    for kind in FILE_SYSTEMS:
        # the second is for tests that make a file system of their own
        logged = LoggedVolumes(runtest.logs)
        system = guest(*_disks(2, _LTP_SIZE, new_disk, logged))
        environment = ltp.put_into(system)
        test_s = _LTP_TEST_S * limit_factor(system)
        limits = {"test_s": test_s, "suite_s": _LTP_SUITE_S}
        with logged.checked(kind, system.quit):
            runtest(system, kind, entries, environment=environment, **limits)


def _disks(
    count: int, size: str, new_disk: Callable[..., Disk], logged: LoggedVolumes
) -> Iterator[Disk]:
    """Yield new disks whose writes are logged, if the target can do that."""
    for _ in range(count):
        yield logged.new(new_disk, size)
