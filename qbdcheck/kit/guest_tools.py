"""Tools for cases in a guest: devices, files, groups of tests, and parsers of programs' output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from qbdcheck.targets.disk import Disk

__all__ = [
    "Device",
    "FileSet",
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
        system = guest(new_disk(_FILE_SIZE, prefill=False))
        runtest(system, kind, entries)
        system.quit()


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
        system = guest(*(new_disk(_LTP_SIZE, prefill=False) for _ in range(2)))
        environment = ltp.put_into(system)
        test_s = _LTP_TEST_S * limit_factor(system)
        runtest(system, kind, entries, environment=environment, test_s=test_s, suite_s=_LTP_SUITE_S)
        system.quit()
