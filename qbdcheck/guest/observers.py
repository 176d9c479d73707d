"""What --observe records while a guest runs: of the guest, QEMU, the backend and the host.

Each kind starts with the guest and its disks, and stops before the guest. Its output is kept raw in
the run's results and summed up in a line below the case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from qbdcheck import clock
from qbdcheck.errors import ProgramError, SetupError
from qbdcheck.guest import blktrace, dstat
from qbdcheck.guest.agent import Running
from qbdcheck.guest.guest import Guest, GuestDisk
from qbdcheck.guest.iostat import IostatError, parse_iostat
from qbdcheck.guest.serial_shell import SerialRunning
from qbdcheck.programs.perf import PerfRecording, busiest, flame_graph
from qbdcheck.programs.qmp import Qmp

_PLACE = "/tmp/observed"
_INTERVAL_S = 1
_STOP_S = 30.0
_CONTROL_S = 5.0
_EVENTS_MAX = 32 << 20
"""Bytes of blkparse's events that are kept. Its totals are always kept."""
_COUNTED = ("rd_operations", "wr_operations", "flush_operations", "unmap_operations",
            "rd_bytes", "wr_bytes", "failed_rd_operations", "failed_wr_operations")  # fmt: skip


class Observers:
    """The observers of one guest.

    :param kinds: members of `qbdcheck.argument_types.OBSERVED`.
    :param scratch: the directory of the case, with the control sockets of its backends.
    :param results: a directory for their output; it is made on the first output.
    """

    def __init__(self, guest: Guest, kinds: tuple[str, ...], scratch: Path, results: Path) -> None:
        self._guest = guest
        self._kinds = kinds
        self._scratch = scratch
        self._results = results
        self._start_s = clock.now_s()
        self._iostat: Running | SerialRunning | None = None
        self._traces: list[tuple[GuestDisk, Running | SerialRunning]] = []
        self._perf: PerfRecording | None = None
        self._stopped = False
        self._failures: list[str] = []

    def start(self) -> None:
        """Start. The guest must run."""
        self._start_s = clock.now_s()
        if "iostat" in self._kinds:
            self._trying("iostat", self._start_iostat)
        if "perf" in self._kinds:
            self._trying("perf", self._start_perf)
        for disk in self._guest.disks:
            self.disk_is_there(disk)

    def _trying(self, kind: str, step: Callable[[], None]) -> None:
        """Do a step. A tool that does not work, or is not there, is reported and fails no case."""
        try:
            step()
        except (ProgramError, SetupError, OSError, ValueError) as error:
            self._failures.append(f"{kind}: not collected: {str(error).partition(chr(10))[0]}")

    def _start_iostat(self) -> None:
        command = f"exec iostat -o JSON -dxy {_INTERVAL_S}"
        self._iostat = self._guest.begin(f"mkdir -p {_PLACE} && {command} > {_PLACE}/iostat")

    def _start_perf(self) -> None:
        pids = [self._guest.machine.pid]
        # The other children of the case are the servers of the target.
        for child in psutil.Process().children(recursive=True):
            if child.pid not in pids and child.name() != "perf":
                pids.append(child.pid)
        self._perf = PerfRecording(pids, self._scratch, self._guest.name)

    def disk_is_there(self, disk: GuestDisk) -> None:
        """Observe a disk that was plugged in."""
        if "blktrace" in self._kinds and disk.path:
            self._trying("blktrace", lambda: self._trace(disk))

    def _trace(self, disk: GuestDisk) -> None:
        place = f"{_PLACE}/{disk.identity}"
        command = f"mkdir -p {place} && exec blktrace -d {disk.path} -D {place} -o t"
        running = self._guest.begin(command)
        self._guest.run(f"n=0; until [ -e {place}/t.blktrace.0 ] || [ $n = 100 ]; do sleep 0.02; "
                        "n=$((n+1)); done")  # fmt: skip
        self._traces.append((disk, running))

    def stop(self) -> list[str]:
        """Stop; return a line for each kind and disk. A second call returns none."""
        if self._stopped:
            return []
        self._stopped = True
        lines: list[str] = []
        elapsed_s = clock.now_s() - self._start_s
        steps: dict[str, Callable[[float], Iterator[str]]] = {
            "iostat": self._of_iostat, "blktrace": self._of_blktrace,
            "blockstats": self._of_blockstats, "backend": self._of_backend, "perf": self._of_perf,
        }  # fmt: skip
        for kind in self._kinds:
            found = steps[kind](elapsed_s)
            self._trying(kind, partial(lines.extend, found))
        lines += self._failures
        if self._results.exists():
            lines.append(f"raw in {self._results}")
        return [f"{self._guest.name} {line}" for line in lines]

    def _keep(self, name: str, data: bytes) -> None:
        self._results.mkdir(parents=True, exist_ok=True)
        (self._results / f"{self._guest.name}.{name}").write_bytes(data)

    def _must_run(self) -> None:
        if not self._guest.is_running:
            raise ProgramError("the guest has ended", [], None)

    def _of_iostat(self, _elapsed_s: float) -> Iterator[str]:
        if self._iostat is None:
            return
        self._must_run()
        self._guest.run(f"kill -INT {self._iostat.pid}")
        self._iostat.wait(_STOP_S)
        text = self._guest.read_file(f"{_PLACE}/iostat")
        self._keep("iostat.json", text)
        paths = {Path(disk.path).name for disk in self._guest.disks}
        try:
            found = parse_iostat(text.decode(), _INTERVAL_S)
        except IostatError as error:
            raise ProgramError(str(error), [], None) from None
        if found.unread:
            yield f"iostat: {found.unread}"
        records = [one for one in found if one.disk in paths]
        self._keep("rates.txt", "".join(f"{line}\n" for line in dstat.table(records)).encode())
        for name in sorted({one.disk for one in records}):
            busy = [one for one in records if one.disk == name and one.utilisation > 0]
            count = len(busy) or 1
            reads, writes, read_b, written_b, util = (
                sum(getattr(one, key) for one in busy) / count
                for key in ("reads_per_s", "writes_per_s", "read_bytes_per_s",
                            "write_bytes_per_s", "utilisation")
            )  # fmt: skip
            wait_ms = max((max(one.read_wait_ms, one.write_wait_ms) for one in busy), default=0.0)
            yield (
                f"iostat {name}: {len(busy)} busy s of {sum(one.disk == name for one in records)}, "
                f"r {reads:.0f}/s {read_b / 1e6:.1f} MB/s, w {writes:.0f}/s {written_b / 1e6:.1f} "
                f"MB/s, await up to {wait_ms:.1f} ms, util {util:.0f}%"
            )

    def _of_blktrace(self, _elapsed_s: float) -> Iterator[str]:
        for disk, running in self._traces:
            self._must_run()
            place = f"{_PLACE}/{disk.identity}"
            self._guest.execute(
                f"kill -INT {running.pid}"
            )  # it has ended if its disk was unplugged
            ran = running.wait(_STOP_S)
            self._guest.run(
                f"cd {place} && blkparse -i t -d t.bin -o t.txt > /dev/null && btt -i t.bin -o out "
                f"> /dev/null; head -c {_EVENTS_MAX} t.txt > events; tail -n 20 t.txt > totals",
                _STOP_S * 4,
            )
            events, totals, btt = (
                self._guest.read_file(f"{place}/{name}") for name in ("events", "totals", "out.avg")
            )
            self._keep(f"{disk.identity}.blkparse.txt", events)
            self._keep(f"{disk.identity}.btt.txt", btt)
            lost = 0
            try:
                lost = blktrace.dropped(ran.output)
                counted = blktrace.parse_totals(totals.decode())
                line = blktrace.summary(blktrace.parse_btt(btt.decode()), counted)
            except blktrace.TraceError as error:
                line = str(error)
            yield f"blktrace {disk.path}: {line}{f', {lost} events lost' * bool(lost)}"

    def _of_blockstats(self, elapsed_s: float) -> Iterator[str]:
        self._must_run()
        for disk in self._guest.disks:
            stats = self._guest.stats(disk)
            self._keep(f"{disk.identity}.blockstats.json", json.dumps(stats, indent=1).encode())
            counted = {key: stats[key] for key in _COUNTED if stats.get(key)}
            rate = (stats["rd_bytes"] + stats["wr_bytes"]) / elapsed_s / 1e6
            counters = ", ".join(f"{key} {value}" for key, value in counted.items()) or "nothing"
            yield f"blockstats {disk.identity}: {counters} in {elapsed_s:.1f} s ({rate:.1f} MB/s)"

    def _of_backend(self, _elapsed_s: float) -> Iterator[str]:
        sockets = sorted(self._scratch.glob("*.volume/c"))
        if not sockets:
            raise ProgramError("the target's backend has no counters", [], None)
        for path in sockets:
            name = path.parent.name.removesuffix(".volume")
            qmp = Qmp(path, name, _CONTROL_S)
            try:
                stats: dict[str, Any] = qmp.execute("query-stats")
            finally:
                qmp.close()
            self._keep(f"{name}.backend.json", json.dumps(stats, indent=1).encode())
            counters = ", ".join(f"{key} {value}" for key, value in sorted(stats.items()) if value)
            yield f"backend {name}: {counters}"

    def _of_perf(self, _elapsed_s: float) -> Iterator[str]:
        if self._perf is None:
            return
        stacks = self._perf.stop()
        count = sum(stacks.values())
        if not count:
            raise ProgramError("perf: no sample was taken", [], None)
        title = f"{self._guest.name} and its backend: {count} samples"
        self._keep("flame.svg", flame_graph(stacks, title).encode())
        top = ", ".join(f"{name} {share:.0%}" for name, share in busiest(stacks))
        yield f"perf: {count} samples, most in {top}"
