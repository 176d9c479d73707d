"""Measure how fast guests start and how fast their disks are.

    .venv/bin/python bench/guest.py [--rounds N]

A start lasts from the case's call to the end of the guest's first read of the test disk. It is
measured from the saved template and from a cold boot. Then fio (4 KiB, random writes, depth 16,
verified by md5) runs on each kind of disk, over the reference backend. All figures are medians.
Bounds: 1.5 s from the template, 6 s for a cold boot under TCG on two cores. The comparison is the
same guest on QEMU's null-co, which answers at once: the limit of QEMU and guest without a backend.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.prerequisites import need, save  # noqa: E402
from qbdcheck.arguments import parse  # noqa: E402
from qbdcheck.guest.devices import Device  # noqa: E402
from qbdcheck.guest.fio_run import Fio  # noqa: E402
from qbdcheck.guest.guest import Guest  # noqa: E402
from qbdcheck.kit.guests import Guests  # noqa: E402
from qbdcheck.runner.reaper import Reaper  # noqa: E402
from qbdcheck.targets.capabilities import capabilities  # noqa: E402
from qbdcheck.targets.mutant_target import profile  # noqa: E402
from qbdcheck.targets.session import TargetSession  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "guest.json"
BOUNDS_S = {"template": 1.5, "boot": 6.0}
SIZE = 16 << 20
WORDS = (
    "--name=bench --ioengine=libaio --direct=1 --bs=4k --iodepth=16 --rw=randwrite --verify=md5"
    " --size=16m"
)
NULL = {"driver": "null-co", "size": SIZE, "read-zeroes": True}
DEVICES = {
    "virtio-blk": Device(),
    "virtio-blk 4096/4096": Device(logical=4096),
    "virtio-scsi": Device("virtio-scsi"),
    "nvme": Device("nvme"),
    "ide": Device("ide", physical=512),
    "virtio-blk, 2 CPUs": Device(queues=2),
    "virtio-blk, 2 CPUs, iothread": Device(iothread="io0", queues=2),
}


@contextlib.contextmanager
def place() -> Iterator[tuple[TargetSession, Path]]:
    """Give a session on the reference target, as a case has it."""
    options = parse(["500"])
    execution = options.execution
    with Reaper(execution.scratch_root, keep=False) as reaper:
        execution = replace(execution, scratch_root=reaper.scratch_root)
        scratch = reaper.scratch_root / "0"
        scratch.mkdir(mode=0o700)
        description = profile("reference", options.target.targets_dir)
        known = capabilities(description, options.target, reaper.scratch_root)
        session = TargetSession(
            description,
            options.target,
            scratch,
            execution=execution,
            guest_options=options.guest,
            image_format="raw",
            case_id="bench",
            capabilities=known,
        )
        try:
            yield session, scratch
        finally:
            session.close()


def start_s(session: TargetSession, scratch: Path, boot: bool) -> float:
    """Return the seconds from the call to the first read of the disk."""
    disk = session.new_disk(SIZE, prefill=False)
    guests = Guests(session, scratch)
    begun = time.monotonic()
    try:
        guest = guests(disk, boot=boot)
        guest.run(f"dd if={guest.disks[0].path} of=/dev/null bs=4k count=1 iflag=direct 2>&1")
        return time.monotonic() - begun
    finally:
        guests.close()


def attached(guests: Guests, session: TargetSession, name: str, null: bool) -> tuple[Guest, str]:
    """Start a guest with one disk of a kind; return its device file."""
    device = DEVICES[name]
    node = dict(NULL) if null else session.new_disk(SIZE, prefill=False).blockdev()
    cpus = 2 if "CPUs" in name else 1
    extra = ["-object", "iothread,id=io0"] if device.iothread else []
    if device.kind == "ide" or cpus > 1:
        guest = guests(plugged=[(node, device)], cpus=cpus, extra=extra)
        return guest, guest.disks[0].path
    guest = guests()
    return guest, guest.attach(node, device).path


def iops(session: TargetSession, scratch: Path, name: str, null: bool) -> tuple[float, float]:
    """Return IOPS of writes and of the reads that verify them; null-co cannot be verified."""
    guests = Guests(session, scratch)
    try:
        guest, path = attached(guests, session, name, null)
        argv = [*WORDS.split(), f"--filename={path}"]
        run = Fio(guest, scratch)(*argv, *(["--do_verify=0"] if null else []))
        [job] = run.must_be_clean().jobs
        return job.write.iops, job.read.iops
    finally:
        guests.close()


def main() -> int:
    """Measure; exit status 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", type=Path, default=RESULTS)
    options = parser.parse_args()
    need(["qemu-system-x86_64"])
    starts: dict[str, list[float]] = defaultdict(list)
    speeds: dict[str, list[float]] = defaultdict(list)
    with place() as (session, scratch):
        for _ in range(options.rounds):
            starts["template"].append(start_s(session, scratch, boot=False))
            starts["boot"].append(start_s(session, scratch, boot=True))
            for name in DEVICES:
                write, read = iops(session, scratch, name, null=False)
                speeds[f"{name}, write"].append(write)
                speeds[f"{name}, verify"].append(read)
                if name != "ide":
                    bare, _ = iops(session, scratch, name, null=True)
                    speeds[f"{name}, write, null-co"].append(bare)
    took = {name: round(statistics.median(values), 2) for name, values in starts.items()}
    found = {name: round(statistics.median(values)) for name, values in speeds.items()}
    for name, seconds in took.items():
        print(f"{name:44} {seconds:8.2f} s to the first read (bound {BOUNDS_S[name]} s)")
    for name, value in found.items():
        print(f"{name:44} {value:8} IOPS")
    result = {
        "rounds": options.rounds,
        "start_s": took,
        "iops": found,
    }
    save(options.save, result)
    return int(any(took[name] > bound for name, bound in BOUNDS_S.items()))


if __name__ == "__main__":
    sys.exit(main())
