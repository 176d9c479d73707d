"""The CPU time of a server, of its clients, and of everybody else on the machine."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from qbdcheck import clock

_TICKS = os.sysconf("SC_CLK_TCK")


def tree_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds of processes and of all their descendants.

    Descendants that have ended count with a resolution of 10 ms, when their parent has waited for
    them (proc_pid_stat(5), cutime and cstime): some servers fork for each client.

    :raise ProcessLookupError: one of the processes is not there.
    """
    total_s = 0.0
    for pid in pids:
        total_s += _one_s(pid)
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(ProcessLookupError):
                total_s += _one_s(child.pid)
    return total_s


def _one_s(pid: int) -> float:
    """Return the CPU seconds of a process and of those children that it has waited for."""
    own_s = clock.process_cpu_s(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise ProcessLookupError(f"no process {pid}") from None
    fields = text.rpartition(")")[2].split()
    return own_s + (int(fields[13]) + int(fields[14])) / _TICKS


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
