"""How fast the machine is now, so that slowness of the machine is never a fault of the backend.

Every time limit is in seconds of an idle machine: `work_s` is a clock that advances by one second
for each second of work that the machine gave to one program. It is the monotonic clock while the
machine is idle, and slower while others want the CPU, but never slower than a tenth
(`MOST_SLOWDOWN`). So every wait still ends.

What is read, in the order of trust:

- Pressure stall information, /proc/pressure/{cpu,memory,io} (Documentation/accounting/psi.rst of
  Linux, since 4.20): for how long some task waited for the resource. The counters ``total`` are
  exact for any span of time.
- /proc/stat: runnable tasks (``procs_running``), and the time that a hypervisor took (steal).
- The throttled time of our own control group (cpu.stat of cgroup v2), in containers with a quota.
- The scheduling delay of the process itself, /proc/self/schedstat.
- A calibrated unit of work, wherever there is no PSI: the elapsed time of a fixed loop, divided by
  the CPU time that it needed at its fastest.

One `Snapshot` is taken at most every `STEP_S` and costs 0.1 ms.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qbdcheck import clock

MOST_SLOWDOWN = 10.0
"""Limits grow by this factor at most."""
STARVED = 1.5
"""A machine that is slower than this, compared with itself when idle, is starved."""
STEP_S = 0.25
"""Shortest time between two snapshots, in seconds."""
_CHUNK = 1 << 14
WAIT_S = 1.0
"""Longest single wait of a program that waits for something within a limit, in seconds."""
_RECENT_S = 10.0
_KEPT = 8192
_BUSY_DISK = 4 << 10
"""KiB per second above which a disk with waiting tasks is busy, and does not hang."""
_UNIT_LOOPS = 30_000
_CASE_LIMIT_S = 60.0
"""The default limit of a case, to which ``--timeout`` is compared."""


@dataclass(frozen=True)
class Snapshot:
    """The counters of the machine at one moment. A counter that cannot be read is None.

    ``at_s`` is the time of the monotonic clock; ``cpu_us``, ``memory_us`` and ``io_us`` are the
    totals of PSI in microseconds; ``jiffies`` and ``stolen`` are the time of all CPUs and the part
    that a hypervisor took; ``runnable`` counts the runnable tasks without the reader;
    ``paged_kib`` is the traffic with disks; ``delay_ns`` is our own time in the run queue;
    ``unit`` is the elapsed time of the unit of work in units of its fastest run (without PSI only).
    """

    at_s: float
    cpu_us: int | None = None
    memory_us: int | None = None
    io_us: int | None = None
    jiffies: int = 0
    stolen: int = 0
    runnable: int | None = None
    throttled_us: int = 0
    paged_kib: int = 0
    delay_ns: int = 0
    unit: float | None = None


@dataclass(frozen=True)
class Load:
    """What others took of the machine during a span of time.

    ``seconds`` is the length of the span. Shares are between 0 and 1; None if unknown. ``slowdown``
    is the factor by which a program ran slower than on the idle machine, from 1 to 10; ``cpu``,
    ``memory`` and ``io`` are the shares of the span in which a task waited for that resource;
    ``stolen`` is the share of the CPU time that a hypervisor took; ``throttled`` is the share in
    which the quota of our control group was used up; ``runnable`` is the mean number of runnable
    tasks on ``cores`` cores; ``delay`` is the share of the span in which this process itself waited
    for a CPU; ``disk_busy``: tasks waited for disks that were transferring data.
    """

    seconds: float
    slowdown: float
    cpu: float | None
    memory: float | None
    io: float | None
    stolen: float
    throttled: float
    runnable: float | None
    cores: int
    delay: float
    disk_busy: bool

    @property
    def is_starved(self) -> bool:
        """Whether a time limit that was exceeded in this span says nothing about the backend."""
        return self.slowdown >= STARVED or self.disk_busy

    @property
    def sentence(self) -> str:
        """The evidence in one line, such as ``a task waited for a CPU in 98 % of 31 s (...)``."""
        parts = [
            f"a task waited for {what} in {share:.0%} of {self.seconds:.1f} s"
            for what, share in (("a CPU", self.cpu), ("memory", self.memory), ("a disk", self.io))
            if share is not None and share >= 0.1
        ]
        more = []
        if self.runnable is not None:
            word = "core" if self.cores == 1 else "cores"
            more.append(f"{self.runnable:.0f} runnable tasks on {self.cores} {word}")
        if self.stolen >= 0.01:
            more.append(f"the hypervisor took {self.stolen:.0%} of the CPU time")
        if self.throttled >= 0.01:
            more.append(f"the CPU quota was used up in {self.throttled:.0%} of the time")
        more.append(f"programs ran {self.slowdown:.1f} times slower than on the idle machine")
        what = "; ".join(parts) or f"the machine was measured for {self.seconds:.1f} s"
        return f"{what} ({'; '.join(more)})"


class Machine:
    """Reads the counters of a machine, keeps snapshots, and has a clock in units of its speed.

    :param proc: the directory of procfs.
    :param cgroups: the directory of cgroup v2.
    :param cores: number of CPUs that this process may use; None: ask the kernel.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        cgroups: Path = Path("/sys/fs/cgroup"),
        cores: int | None = None,
    ) -> None:
        self._proc = proc
        self._cgroups = cgroups
        self.cores = cores or len(os.sched_getaffinity(0))
        self._fastest_s = float("inf")
        self._snapshots: deque[Snapshot] = deque(maxlen=_KEPT)
        self._work_s = 0.0
        self._shown_s = 0.0
        self._rate = 1.0
        self._slowdown, self._slowdown_at_s = 1.0, -1.0  # of the snapshot taken at that time
        self._lock = threading.Lock()

    def forget_lock(self) -> None:
        """Replace the lock; for the child after a fork."""
        self._lock = threading.Lock()

    def start_anew(self) -> None:
        """Forget what was before, so that evidence is of the case that starts now."""
        with self._lock:
            self._snapshots.clear()
            self._snapshots.append(self.snapshot())
            self._work_s = self._shown_s

    # The clock

    def work_s(self) -> float:
        """Return the seconds of work that the machine gave to one program since the first call."""
        now_s = clock.now_s()
        with self._lock:
            if not self._snapshots:
                self._snapshots.append(self.snapshot())
                return self._shown_s
            last = self._snapshots[-1]
            if now_s - last.at_s >= STEP_S:
                taken = self.snapshot()
                load = self._between(last, taken)
                self._rate = 1 / load.slowdown
                self._work_s += load.seconds * self._rate
                self._snapshots.append(taken)
                shown_s = self._work_s
            else:
                shown_s = self._work_s + (now_s - last.at_s) * self._rate
            self._shown_s = max(self._shown_s, shown_s)
            return self._shown_s

    @property
    def slowdown(self) -> float:
        """The factor by which programs run slower now than on the idle machine, from 1 to 10."""
        self.work_s()
        with self._lock:
            at_s = self._snapshots[-1].at_s if self._snapshots else 0.0
            if self._slowdown_at_s == at_s:  # no newer counters: callers poll every millisecond
                return self._slowdown
        slowdown = self.recent().slowdown
        with self._lock:
            self._slowdown, self._slowdown_at_s = slowdown, at_s
        return slowdown

    # Spans

    def since(self, at_s: float) -> Load:
        """Return the load since the time `at_s` of the monotonic clock, or the last moments."""
        taken = self.snapshot()
        with self._lock:
            kept = list(self._snapshots)
            if not kept or taken.at_s - kept[-1].at_s >= STEP_S:
                kept.append(taken)
        earlier = [one for one in kept if one.at_s <= at_s] or kept[:1]
        middle = [one for one in kept if one.at_s > earlier[-1].at_s]
        return self._between(earlier[-1], taken, middle)

    def recent(self, seconds: float = _RECENT_S, since_s: float = 0.0) -> Load:
        """Return the load of the last `seconds`, but not before the time `since_s`."""
        return self.since(max(clock.now_s() - seconds, since_s))

    def _between(self, first: Snapshot, last: Snapshot, middle: Sequence[Snapshot] = ()) -> Load:
        seconds = max(last.at_s - first.at_s, 1e-6)
        cpu = _share(first.cpu_us, last.cpu_us, seconds)
        memory = _share(first.memory_us, last.memory_us, seconds)
        io = _share(first.io_us, last.io_us, seconds)
        runnable = _mean([one.runnable for one in (first, *middle, last)])
        unit = _mean([one.unit for one in (first, *middle, last)])
        jiffies = last.jiffies - first.jiffies
        stolen = (last.stolen - first.stolen) / jiffies if jiffies > 0 else 0.0
        throttled = min((last.throttled_us - first.throttled_us) / 1e6 / seconds, 1.0)
        factors = [1.0, _waiting(stolen), _waiting(throttled), _waiting(memory or 0.0)]
        if cpu is not None and runnable is not None:
            factors.append(1 + cpu * max(runnable / self.cores - 1, 0.0))
        elif unit is not None:
            factors.append(unit)
        paged = (last.paged_kib - first.paged_kib) / seconds
        return Load(
            seconds=seconds,
            slowdown=min(max(factors), MOST_SLOWDOWN),
            cpu=cpu,
            memory=memory,
            io=io,
            stolen=stolen,
            throttled=throttled,
            runnable=runnable,
            cores=self.cores,
            delay=min((last.delay_ns - first.delay_ns) / 1e9 / seconds, 1.0),
            disk_busy=io is not None and io >= 0.5 and paged >= _BUSY_DISK,
        )

    # The counters

    def snapshot(self) -> Snapshot:
        """Read all counters now; one that is missing or cannot be read is left out."""
        cpu_us = self._pressure("cpu")
        stat, paged = self._text("stat"), self._text("vmstat")
        times, running = _numbers(stat, "cpu"), _numbers(stat, "procs_running")
        delay = self._text("self/schedstat").split()
        return Snapshot(
            at_s=clock.now_s(),
            cpu_us=cpu_us,
            memory_us=self._pressure("memory"),
            io_us=self._pressure("io"),
            jiffies=sum(times[:8]),
            stolen=times[7] if len(times) > 7 else 0,
            runnable=max(running[0] - 1, 0) if running else None,
            throttled_us=self._throttled_us(),
            paged_kib=sum(_numbers(paged, "pgpgin") + _numbers(paged, "pgpgout")),
            delay_ns=int(delay[1]) if len(delay) > 1 else 0,
            unit=self._unit() if cpu_us is None else None,
        )

    def _unit(self) -> float:
        """Run the unit of work; return its elapsed time in units of its fastest run, at least 1."""
        start_s, start_cpu_s = clock.now_s(), clock.thread_cpu_s()
        for _ in range(_UNIT_LOOPS):
            pass
        elapsed_s, cpu_s = clock.now_s() - start_s, clock.thread_cpu_s() - start_cpu_s
        self._fastest_s = min(self._fastest_s, max(cpu_s, 1e-6))
        return max(elapsed_s / self._fastest_s, 1.0)

    def _pressure(self, resource: str) -> int | None:
        """Return the microseconds for which some task waited; None without PSI."""
        some = self._text(f"pressure/{resource}").partition("\n")[0]
        _, found, total = some.partition("total=")
        return int(total) if found else None

    def _throttled_us(self) -> int:
        name = self._text("self/cgroup").partition("0::/")[2].partition("\n")[0]
        with contextlib.suppress(OSError, ValueError):
            for line in _read(f"{self._cgroups}/{name}/cpu.stat").splitlines():
                if line.startswith("throttled_usec"):
                    return int(line.split()[1])
        return 0

    def _text(self, name: str) -> str:
        try:
            return _read(f"{self._proc}/{name}")
        except OSError:  # without PSI, the open or the read fails
            return ""


def _read(path: str) -> str:
    """Return the text of a small file, in a third of the time that `Path.read_text` takes."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(file, _CHUNK)]
        while parts[-1]:  # the files of procfs do not tell their size
            parts.append(os.read(file, _CHUNK))
    finally:
        os.close(file)
    return b"".join(parts).decode()


def _numbers(text: str, name: str) -> list[int]:
    """Return the numbers of the line that begins with a name; [] without such a line.

    The files have hundreds of lines, and are read many times a second: only one line is split.
    """
    _, found, rest = f"\n{text}".partition(f"\n{name} ")
    return [int(word) for word in rest.partition("\n")[0].split()] if found else []


def _share(first: int | None, last: int | None, seconds: float) -> float | None:
    if first is None or last is None:
        return None
    return min(max((last - first) / 1e6 / seconds, 0.0), 1.0)


def _mean(values: list[int | None] | list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _waiting(share: float) -> float:
    """Return the slowdown of a program that waits for this share of the time."""
    return 1 / max(1 - share, 1 / MOST_SLOWDOWN)


THIS = Machine(Path(os.environ.get("QBDCHECK_PROC", "/proc")))
"""The machine that we run on. Tests of the runner set QBDCHECK_PROC to the files of an idle one."""
os.register_at_fork(after_in_child=THIS.forget_lock)


class _Patience:
    """The factor that ``--timeout`` gives to the limits of programs."""

    factor = 1.0


def work_s() -> float:
    """Return the seconds of `Machine.work_s`, the clock for limits, of this machine."""
    return THIS.work_s()


def be_patient(timeout_s: float | None) -> None:
    """Give programs more time in the ratio in which ``--timeout`` gives more to cases.

    :param timeout_s: the limit of a case in seconds; None without the option. A limit below the
        default of 60 s does not shorten the limits of programs: the case ends before them.
    """
    _Patience.factor = max((timeout_s or _CASE_LIMIT_S) / _CASE_LIMIT_S, 1.0)


def patient_s(seconds: float) -> float:
    """Return a limit of a program with what ``--timeout`` gives to it, in seconds of work."""
    return seconds * _Patience.factor


def elapsed_limit_s(seconds: float) -> float:
    """Return a limit in seconds of the real clock at the present speed of the machine.

    For limits that the kernel enforces, such as those of sockets; where a loop waits, use `Limit`.
    """
    return patient_s(seconds) * THIS.slowdown


class StarvedError(TimeoutError):
    """A time limit was exceeded while others used the machine.

    :ivar load: what they took of it at that moment.
    """

    def __init__(self, message: str, load: Load) -> None:
        super().__init__(message)
        self.load = load


def must_not_be_starved(late: str) -> None:
    """Check at the end of a wait, before a case fails for it, that the machine was not starved.

    :param late: what did not happen in time.
    :raise StarvedError: it was; the runner then gives the verdict BROKEN "starved".
    """
    load = THIS.recent()
    if load.is_starved:
        raise StarvedError(late, load)


class Limit:
    """A time limit, in seconds of work of this machine; a wait that it bounds must be a loop.

    :param seconds: from now on, on the idle machine; ``--timeout`` can extend it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = patient_s(seconds)
        self._end_s = work_s() + self.seconds

    def left_s(self) -> float:
        """Return the seconds for the next single wait, at most one; 0.0 when the limit is over."""
        return min(self.total_left_s, WAIT_S)

    @property
    def total_left_s(self) -> float:
        """The seconds of work until the limit is over; not negative."""
        return max(self._end_s - work_s(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return work_s() >= self._end_s
