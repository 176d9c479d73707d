"""Compare the dual write with QEMU's blkverify on the same workload; print and save JSON.

    .venv/bin/python bench/dual_write.py [--save FILE] [--rounds 9] [--requests 4000]

Both compare one qemu-nbd export with a raw file of the same contents, under the same reads and
writes, in pairs of runs one after the other, because the machine may be shared. The ratio is the
median of the ratios of the pairs. QEMU runs in its fastest way: one qemu-io that takes all commands
from a full pipe, with ``aio_`` commands where requests are in flight together. Its start is not
counted. The dual write makes stamps and names the damage; blkverify writes a pattern byte and ends
at the first mismatch.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.prerequisites import need, save  # noqa: E402
from oracles.dual_write import DualWrite  # noqa: E402  # the path is set above
from oracles.shadow import Shadow  # noqa: E402
from oracles.sides import InOrder  # noqa: E402
from oracles.stamps import Identity  # noqa: E402
from oracles.workload import Batch, Kind, Mix, Request, generate  # noqa: E402
from qbdcheck.kit.local_sides import RawFile  # noqa: E402
from qbdcheck.kit.nbd_side import NbdSide  # noqa: E402
from qbdcheck.kit.qemu_verifiers import blkverify_node  # noqa: E402
from qbdcheck.programs.blockdev import file_node, json_filename, nbd_node  # noqa: E402

SIZE = 64 << 20
READS_AND_WRITES = {Kind.READ: 1, Kind.WRITE: 1}
SHAPES = {
    "4 KiB, one at a time": (4096, 1),
    "4 KiB, 16 in flight": (4096, 16),
    "4 KiB, 64 in flight": (4096, 64),
    "64 KiB, 16 in flight": (65536, 16),
    "512 KiB, 4 in flight": (524288, 4),
}
PROMPT = b"qemu-io> "


class Bench:
    """One export of qemu-nbd, and the two ways to compare it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "s"
        image = directory / "target"
        with image.open("wb") as file:
            file.truncate(SIZE)
        self.server = subprocess.Popen(
            ["qemu-nbd", "-f", "raw", "--cache=writeback", "-t", "-e8", "-k", self.socket, image]
        )
        while not self.socket.exists():
            time.sleep(0.01)

    def close(self) -> None:
        """End the server."""
        self.server.terminate()
        self.server.wait()

    def dual_write(self, batches: list[Batch]) -> float:
        """Return the seconds that the dual write takes."""
        raw = RawFile(self.directory / "reference", SIZE)
        target = NbdSide(f"nbd+unix:///?socket={self.socket}", status=False)
        self._fill_zero(target)
        dual = DualWrite(InOrder(raw), target, Shadow(SIZE, Identity.of("bench", "disk")))
        start = time.perf_counter()
        found = dual.run(batches)
        took = time.perf_counter() - start
        target.close()
        raw.close()
        assert not found, found[0]
        return took

    def _fill_zero(self, target: NbdSide) -> None:
        """Bring the target back to zeroes: blkverify compares with an empty copy as well."""
        step = 16 << 20
        zero = tuple(Request(0, Kind.ZERO, at, step, no_hole=True) for at in range(0, SIZE, step))
        target.start(zero, [b""] * len(zero))
        assert not any(outcome.error for outcome in target.finish())

    def blkverify(self, batches: list[Batch]) -> float:
        """Return the seconds that qemu-io takes over blkverify, its start not counted."""
        with NbdSideClosed(self.socket) as target:
            self._fill_zero(target)
        raw = self.directory / "raw"
        with raw.open("wb") as file:
            file.truncate(SIZE)
        top = blkverify_node(file_node(raw), nbd_node(self.socket))
        argv = ["qemu-io", "-t", "writeback", json_filename(top)]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, bufsize=0) as qemu:
            assert qemu.stdin is not None
            assert qemu.stdout is not None
            seen = b""
            while not seen.endswith(PROMPT):
                seen += qemu.stdout.read(65536)
            script = commands(batches)
            start = time.perf_counter()
            out, _ = qemu.communicate(script)
            took = time.perf_counter() - start
        answered = out.count(b"ops; ")
        requests = sum(map(len, batches))
        assert qemu.returncode == 0, out[-500:]
        assert answered == requests, f"qemu-io answered {answered} of {requests}: {out[-500:]!r}"
        return took


class NbdSideClosed(NbdSide):
    """A side for a `with`."""

    def __init__(self, socket: Path) -> None:
        super().__init__(f"nbd+unix:///?socket={socket}", status=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def commands(batches: list[Batch]) -> bytes:
    """Return the workload in qemu-io's words."""
    lines = []
    for batch in batches:
        aio = "aio_" if len(batch) > 1 else ""
        for request in batch:
            pattern = f" -P {request.number % 255 + 1}" if request.kind is Kind.WRITE else ""
            lines.append(f"{aio}{request.kind}{pattern} {request.offset} {request.length}")
        if aio:
            lines.append("aio_flush")
    return "\n".join([*lines, "quit", ""]).encode()


def main() -> int:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=4000)
    options = parser.parse_args()
    need(["qemu-io", "qemu-nbd"])
    results: dict[str, object] = {}
    print(f"{'shape':24} {'dual write':>12} {'blkverify':>12} {'ratio':>7}   requests per second")
    with tempfile.TemporaryDirectory(prefix="q") as directory:
        bench = Bench(Path(directory))
        try:
            for name, (length, depth) in SHAPES.items():
                count = max(200, min(options.requests, (256 << 20) // length))
                mix = Mix(READS_AND_WRITES, align=length, longest=length, depth=depth, hot=0)
                batches = generate(random.Random(1), SIZE, count, mix)
                pairs = [
                    (bench.dual_write(batches), bench.blkverify(batches))
                    for _ in range(options.rounds)
                ]
                ours = count / statistics.median(our for our, _ in pairs)
                theirs = count / statistics.median(their for _, their in pairs)
                ratio = statistics.median(their / our for our, their in pairs)
                results[name] = {"dual_write": ours, "blkverify": theirs, "ratio": ratio}
                print(f"{name:24} {ours:12.0f} {theirs:12.0f} {ratio:7.2f}", flush=True)
                save(options.save, {"rounds": options.rounds, **results})
        finally:
            bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
