"""What a backend takes of its host: memory, threads, open files, its children included."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import psutil

from blockio.sizes import format_size
from qbdcheck.clock import now_s, pause
from qbdcheck.targets.lifecycle import Backend


class Footprint(NamedTuple):
    """Of a server and its children."""

    memory: int
    """Bytes that are resident (proc(5), statm), without what is shared with other processes."""
    threads: int
    descriptors: int

    def __str__(self) -> str:
        """In words."""
        memory = format_size(self.memory, 0)
        return f"{memory}, {self.threads} threads, {self.descriptors} descriptors"


def footprint(backend: Backend) -> Footprint:
    """Measure a running backend.

    :raise CaseBroken: it has no running server.
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


def settles(backend: Backend, before: Footprint, spare: int, within_s: float = 30.0) -> Footprint:
    """Wait until threads and descriptors are back where they were but for ``spare`` of each.

    :param within_s: seconds; QEMU keeps idle threads for ten.
    :return: the last measurement, whether it has settled or not.
    """
    deadline = now_s() + within_s
    while True:
        after = footprint(backend)
        back = all(now <= then + spare for now, then in zip(after[1:], before[1:], strict=True))
        if back or now_s() > deadline:
            return after
        pause(0.05)
