"""Measure how fast stamps are made and checked, and how fast the shadow judges.

    .venv/bin/python bench/stamps.py [--save FILE]

The bounds of the project: at least 1 GB/s each for making and verifying at 1 MiB, and less CPU time
to verify a file than fio's verify=crc32c of 4 KiB blocks needs for a file of the same length (both
in memory). All figures are medians of interleaved rounds, because the machine may be shared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.prerequisites import need, save  # noqa: E402
from oracles.shadow import Shadow  # noqa: E402  # the path is set above
from oracles.stamps import Identity, stamp, verify  # noqa: E402

ME = Identity.of("bench", "volume")
SIZES = {"4 KiB": 4 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "8 MiB": 8 << 20}
BOUND_GB_S = 1.0
ROUNDS = 15
BYTES_A_ROUND = 16 << 20
PEER_ROUNDS = 5
PEER_BYTES = 512 << 20
MIB = 1 << 20
DEFAULT_FIO = "fio crc32c, 4 KiB blocks"
PEERS = {
    DEFAULT_FIO: (4096, 4096),
    "fio crc32c, 1 MiB blocks, each 512 bytes": (MIB, 512),
    "fio crc32c, 1 MiB blocks": (MIB, MIB),
}
"""Bytes of a request, and of the unit that has its own checksum."""


def speed(work: Callable[[], object], size: int) -> float:
    """Return GB/s of one round."""
    times = max(BYTES_A_ROUND // size, 1)
    if size <= 4096:
        times //= 8
    start = time.perf_counter()
    for _ in range(times):
        work()
    return times * size / (time.perf_counter() - start) / 1e9


def tasks() -> dict[tuple[str, str], tuple[Callable[[], object], int]]:
    """Return what is measured, by (task, size)."""
    chosen: dict[tuple[str, str], tuple[Callable[[], object], int]] = {}
    for name, size in SIZES.items():
        shadow = Shadow(size, ME)
        data = shadow.prefill().tobytes()
        chosen["make", name] = partial(stamp, 0, size, ME, 3, 57), size
        chosen["verify", name] = partial(verify, data, 0, ME), size
        chosen["shadow check", name] = partial(shadow.check, 0, data), size
    return chosen


def fio_verify(file: Path, block: int, interval: int, only: bool) -> float:
    """Let fio write a file, or verify it; return GB per second of CPU time."""
    argv = [
        "fio", "--name=peer", f"--filename={file}", f"--size={PEER_BYTES}", f"--bs={block}",
        "--rw=write", "--ioengine=psync", "--verify=crc32c", f"--verify_interval={interval}",
        "--output-format=json", "--verify_only=1" if only else "--do_verify=0",
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=file.parent, check=True, capture_output=True, text=True)
    job = json.loads(done.stdout)["jobs"][0]
    if only and job["read"]["io_bytes"] < PEER_BYTES:
        sys.exit(f"fio verified {job['read']['io_bytes']} bytes of {PEER_BYTES}")
    busy_s = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] / 1000
    return float(PEER_BYTES / busy_s / 1e9)


def our_verify(file: Path) -> float:
    """Return GB a second of CPU at which a file of stamps is read and verified."""
    part = bytearray(MIB)
    start = time.process_time()
    with file.open("rb", buffering=0) as stream:
        for offset in range(0, PEER_BYTES, MIB):
            if stream.readinto(part) != MIB or not verify(part, offset, ME):
                sys.exit(f"{file} is wrong at {offset}")
    return PEER_BYTES / (time.process_time() - start) / 1e9


def beside_fio() -> dict[str, float]:
    """Return GB a second of CPU for a file in memory, read and verified: ours, and fio's.

    fio verifies in the blocks that it wrote, 4 KiB in its usual job; stamps are verified in bulk
    whatever wrote them. With blocks of 1 MiB, fio is as fast as the processor's CRC instruction.
    """
    memory = Path("/dev/shm")
    rounds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        ours = Path(directory) / "stamps"
        with ours.open("wb") as stream:
            for offset in range(0, PEER_BYTES, MIB):
                stream.write(stamp(offset, MIB, ME, 3, 57).tobytes())
        peers = {name: (Path(directory) / name, *sizes) for name, sizes in PEERS.items()}
        for peer in peers.values():
            fio_verify(*peer, only=False)
        for _ in range(PEER_ROUNDS):
            rounds.setdefault("stamps", []).append(our_verify(ours))
            for name, peer in peers.items():
                rounds.setdefault(name, []).append(fio_verify(*peer, only=True))
    return {name: statistics.median(values) for name, values in rounds.items()}


def main() -> int:
    """Measure; exit status 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, default=ROOT / "bench/results/stamps.json")
    options = parser.parse_args()
    need(["fio"])
    chosen = tasks()
    rounds: dict[tuple[str, str], list[float]] = {key: [] for key in chosen}
    for _ in range(ROUNDS):
        for key, (work, size) in chosen.items():
            rounds[key].append(speed(work, size))
    medians = {key: statistics.median(values) for key, values in rounds.items()}
    print(f"{'GB/s':<14}" + "".join(f"{size:>10}" for size in SIZES))
    for task in ("make", "verify", "shadow check"):
        print(f"{task:<14}" + "".join(f"{medians[task, size]:>10.2f}" for size in SIZES))
    missed = [task for task in ("make", "verify") if medians[task, "1 MiB"] < BOUND_GB_S]
    files = beside_fio()
    for name, gbs in files.items():
        print(f"a file read and verified, {name}: {gbs:.2f} GB per s of CPU")
    if files["stamps"] <= files[DEFAULT_FIO]:
        missed.append(f"faster than {DEFAULT_FIO}")
    result = {
        "rounds": ROUNDS,
        "gb_per_s": {f"{task}, {size}": round(gbs, 2) for (task, size), gbs in medians.items()},
        "file_gb_per_cpu_s": {name: round(gbs, 2) for name, gbs in files.items()},
        "bound_gb_per_s_at_1_mib": BOUND_GB_S,
        "missed": missed,
    }
    save(options.save, result)
    verdict = f"missed by {missed}" if missed else "met"
    print(f"bounds, {BOUND_GB_S} GB/s at 1 MiB and faster than fio: {verdict}")
    print(f"saved {options.save}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
