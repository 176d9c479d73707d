"""Memory, threads and open files of a backend, its children included."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import psutil

from blockio.sizes import format_size
from qbdcheck.clock import pause
from qbdcheck.machine_speed import Limit, must_not_be_starved
from qbdcheck.targets.lifecycle import Backend


class Footprint(NamedTuple):
    """Resources of a server and its children."""

    memory: int
    """Resident bytes (proc(5), statm), without those shared with other processes."""
    threads: int
    descriptors: int

    def __str__(self) -> str:
        """Return the resources in words."""
        memory = format_size(self.memory, 0)
        return f"{memory}, {self.threads} threads, {self.descriptors} descriptors"


def footprint(backend: Backend) -> Footprint:
    """Measure a running backend.

    :raise CaseBroken: the backend has no running server.
    """
    server = psutil.Process(backend.pid)
    memory = threads = descriptors = 0
    for process in (server, *server.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            taken = process.memory_info()
            memory += taken.rss - taken.shared
            threads += process.num_threads()
            descriptors += process.num_fds()
    return Footprint(memory, threads, descriptors)


def cpu_s(backend: Backend) -> float:
    """Return the seconds of CPU that a running backend has used, its children included.

    :raise CaseBroken: the backend has no running server.
    """
    server = psutil.Process(backend.pid)
    used = 0.0
    for process in (server, *server.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def settles(backend: Backend, before: Footprint, spare: int, within_s: float = 30.0) -> Footprint:
    """Wait until threads and descriptors exceed the earlier numbers by at most ``spare``.

    :param within_s: seconds; QEMU keeps idle threads for ten.
    :return: the last measurement, settled or not.
    """
    limit = Limit(within_s)
    while True:
        after = footprint(backend)
        back = all(now <= then + spare for now, then in zip(after[1:], before[1:], strict=True))
        if not back and limit.is_over:
            must_not_be_starved(f"the server did not settle within {limit.seconds:g} s: {after}")
        if back or limit.is_over:
            return after
        pause(0.05)


def expect_no_leak(before: Footprint, after: Footprint, spare: int, what: str) -> None:
    """Check that threads and descriptors exceed the earlier numbers by at most ``spare``.

    :param what: what the server did between the two, for the message.
    :raise AssertionError: they exceed them.
    """
    for kind in ("threads", "descriptors"):
        was, now = getattr(before, kind), getattr(after, kind)
        assert now <= was + spare, (
            f"{what}: the server had {was} {kind} before, it has {now} now: a leak of open files"
            " or threads"
        )
