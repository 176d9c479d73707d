"""The CPU time of a server, of its clients, and of everybody else on the machine."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from qbdcheck import clock

_TICKS = os.sysconf("SC_CLK_TCK")


def tree_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds of processes and their living descendants."""
    total_s = 0.0
    for pid in pids:
        total_s += clock.process_cpu_s(pid)
        for child in psutil.Process(pid).children(recursive=True):
            try:
                total_s += clock.process_cpu_s(child.pid)
            except ProcessLookupError:
                continue
    return total_s


def ended_children_s() -> float:
    """Return the CPU seconds of all programs that this process started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_s(proc: Path = Path("/proc")) -> tuple[float, float]:
    """Return the seconds that all cores were busy, and their whole time, since the machine started.

    What a hypervisor took counts as busy (proc_pid_stat(5), /proc/stat).
    """
    with (proc / "stat").open(encoding="ascii") as file:
        times = [int(word) for word in file.readline().split()[1:9]]
    user, nice, system, _idle, _iowait, *rest = times
    return (user + nice + system + sum(rest)) / _TICKS, sum(times) / _TICKS


@dataclass(frozen=True)
class Used:
    """CPU seconds between two moments.

    :ivar server_s: None without a server. :ivar others: share of all cores that others used.
    """

    seconds: float
    server_s: float | None
    client_s: float
    others: float


class Meter:
    """Measures from its creation on.

    :param server: process ids of the server; empty if the target has none.
    :param clients: process ids of clients that run all the time, such as QEMU; what this process
        starts and what ends until `read` counts as client, too.
    """

    def __init__(self, server: Iterable[int], clients: Iterable[int] = ()) -> None:
        self._server, self._clients = tuple(server), tuple(clients)
        self._first = self._now()

    def _now(self) -> tuple[float, float, float, float, float, float]:
        busy, whole = busy_s()
        client = tree_s(self._clients) + ended_children_s()
        own = clock.process_cpu_s(os.getpid())
        return clock.now_s(), tree_s(self._server), client, own, busy, whole

    def read(self) -> Used:
        """Return what was used until now.

        :raise ProcessLookupError: a server or client has died.
        """
        then, now = self._first, self._now()
        seconds, server, client, own, busy, whole = (b - a for a, b in zip(then, now, strict=True))
        others = (busy - server - client - own) / whole if whole > 0 else 0.0
        return Used(seconds, server if self._server else None, client, min(max(others, 0.0), 1.0))
