"""Load from the host: fio's nbd engine, and ``qemu-img bench`` for any driver.

fio reaches a target without an NBD server of its own through a qemu-storage-daemon that exports it;
the CPU time of that daemon then counts as the server's, because the driver runs in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qbdcheck.errors import CaseBroken, SetupError
from qbdcheck.guest.fio import parse
from qbdcheck.guest.fio_result import FioOutputError, FioResult, Job
from qbdcheck.machine_speed import patient_s
from qbdcheck.perf import noise
from qbdcheck.perf.sample import Sample
from qbdcheck.perf.shapes import BENCH, Shape
from qbdcheck.programs.cpu_time import Meter, Used
from qbdcheck.programs.process import run
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession

_TRIAL_REQUESTS = 500
_MOST_REQUESTS = 2_000_000
_LIMIT_S = 120.0
_TOOK = re.compile(r"Run completed in ([0-9.]+) seconds")
_FILL = Shape("fio", "write", 1 << 20, 4)


@dataclass(frozen=True)
class Loaded:
    """A fresh volume that is filled, and how the tools reach it.

    :ivar pids: of its server, and of the daemon that exports it. :ivar uri: for fio.
    """

    session: TargetSession
    disk: Disk
    uri: str
    pids: tuple[int, ...]


@contextmanager
def loaded(session: TargetSession, size: int) -> Iterator[Loaded]:
    """Make a volume of ``size`` bytes, write all of it once, and end everything after the block.

    :raise SetupError: the target does not start, or fio is missing or cannot write.
    """
    try:
        disk = session.new_disk(size, prefill=False, zero=False)
        pids = _server_of(disk)
        if session.description.nbd is None:
            daemon = session.storage_daemon()
            daemon.add(disk.blockdev("disk", discard="unmap"))
            uri, pids = daemon.export("disk"), (*pids, daemon.pid)
        else:
            uri = disk.uri
        _fio(uri, _FILL, size, 0.0)
        yield Loaded(session, disk, uri, pids)
    finally:
        session.close()


def _server_of(disk: Disk) -> tuple[int, ...]:
    try:
        return (disk.backend.pid,)
    except CaseBroken:
        return ()


def measure(on: Loaded, shape: Shape, seconds: float) -> Sample:
    """Make the requests of a shape for some seconds.

    :raise SetupError: the tool fails.
    """
    unit_s = noise.unit_s()
    if shape.tool == BENCH:
        requests, took_s, used = _bench(on, shape, seconds)
        return Sample(
            requests=requests,
            seconds=took_s,
            bytes_done=requests * shape.block,
            server_s=used.server_s,
            client_s=used.client_s,
            others=used.others,
            unit_s=min(unit_s, noise.unit_s()),
        )
    meter = Meter(on.pids)
    result = _fio(on.uri, shape, on.disk.size, seconds)
    used = meter.read()
    return sample_of_fio(result, used, min(unit_s, noise.unit_s()), client_s=None)


def sample_of_fio(result: FioResult, used: Used, unit_s: float, client_s: float | None) -> Sample:
    """Return what fio's result and the meter say together.

    :param client_s: CPU seconds of the client; None: those of fio's own jobs.
    :raise SetupError: fio made no request.
    """
    directions = [one for job in result.jobs for one in job.directions.values()]
    requests = sum(one.requests for one in directions)
    seconds = max((one.runtime_ms for one in directions), default=0) / 1000
    if not requests or not seconds:
        raise SetupError("fio made no request: take more seconds")
    bins: dict[int, int] = {}
    for one in directions:
        for latency_ns, count in one.clat.bins.items():
            bins[latency_ns] = bins.get(latency_ns, 0) + count
    return Sample(
        requests=requests,
        seconds=seconds,
        bytes_done=sum(one.bytes_done for one in directions),
        server_s=used.server_s,
        client_s=sum(map(_cpu_s, result.jobs)) if client_s is None else client_s,
        others=used.others,
        unit_s=unit_s,
        latencies_ns=bins,
    )


def _cpu_s(job: Job) -> float:
    """Return the CPU seconds of a job, without fio's own start."""
    runtime_s = max((one.runtime_ms for one in job.directions.values()), default=0) / 1000
    jobs = int(job.options.get("numjobs", 1))
    return (job.user_cpu + job.system_cpu) / 100 * runtime_s * jobs


def fio_arguments(shape: Shape, size: int, seconds: float) -> list[str]:
    """Return fio's arguments for a shape, without its engine.

    :param size: of the volume, in bytes. :param seconds: 0 goes over the volume once.
    """
    timing = [f"--runtime={seconds * 1000:.0f}ms", "--time_based"] if seconds else []
    return [
        "--name=perf", f"--rw={shape.rw}", f"--bs={shape.block}", f"--iodepth={shape.depth}",
        f"--numjobs={shape.jobs}", "--group_reporting", f"--size={size}", "--norandommap",
        "--randrepeat=1", *timing,
    ]  # fmt: skip


def _fio(uri: str, shape: Shape, size: int, seconds: float) -> FioResult:
    arguments = fio_arguments(shape, size, seconds)
    argv = ["fio", "--output-format=json+", "--ioengine=nbd", f"--uri={uri}", *arguments]
    done = run(argv, timeout_s=patient_s(_LIMIT_S + seconds), check=False)
    try:
        result = parse(done.stdout, done.stderr)
    except FioOutputError as error:
        reported = " ".join((done.stderr or done.stdout or str(error)).split())[-300:]
        raise SetupError(f"fio cannot run {shape.label}: {reported}") from None
    if done.returncode or result.error:
        reported = " ".join((done.stderr or done.stdout).split())[-300:]
        raise SetupError(f"fio failed in {shape.label}: {reported}")
    return result


def _bench(on: Loaded, shape: Shape, seconds: float) -> tuple[int, float, Used]:
    """Run ``qemu-img bench`` twice: first to find how many requests take the time."""
    took_s = _bench_once(on, shape, _TRIAL_REQUESTS)
    count = min(max(int(_TRIAL_REQUESTS / max(took_s, 1e-4) * seconds), 100), _MOST_REQUESTS)
    meter = Meter(on.pids)
    took_s = _bench_once(on, shape, count)
    return count, took_s, meter.read()


def _bench_once(on: Loaded, shape: Shape, count: int) -> float:
    """Return the seconds that so many requests took. All requests are in order of offset."""
    arguments = ["-c", str(count), "-d", str(shape.depth), "-s", str(shape.block)]
    arguments += ["-t", "writeback", *(["-w"] if shape.writes else [])]
    limit_s = patient_s(_LIMIT_S)
    out = on.session.qemu_img("bench", *arguments, on.disk.filename, timeout_s=limit_s)
    found = _TOOK.search(out)
    if found is None:
        raise SetupError(f"qemu-img bench printed no time: {out.strip()[-200:]}")
    return float(found[1])
