"""The shapes of load: tool x rw x block size x depth x jobs."""

from __future__ import annotations

from dataclasses import dataclass

from blockio.sizes import format_size, parse_size

FIO, BENCH = "fio", "qemu-img"
"""The tools: fio, and ``qemu-img bench``, whose requests are in order of offset."""


@dataclass(frozen=True)
class Shape:
    """One shape of load.

    :ivar tool: `FIO` or `BENCH`. :ivar rw: the rw of fio, such as ``randwrite``; of `BENCH` only
        ``read`` and ``write``. :ivar block: bytes of a request. :ivar depth: requests in flight of
        each job. :ivar jobs: connections; always 1 with `BENCH`.
    """

    tool: str
    rw: str
    block: int
    depth: int
    jobs: int = 1

    @property
    def label(self) -> str:
        """Its name in tables, baselines and ``--only``: ``fio:randwrite:4k:qd16:x1``."""
        size = format_size(self.block).replace(" ", "").replace("iB", "").lower()
        return f"{self.tool}:{self.rw}:{size}:qd{self.depth}:x{self.jobs}"

    @property
    def writes(self) -> bool:
        """Whether it has writes."""
        return "write" in self.rw or self.rw in {"rw", "randrw"}


@dataclass(frozen=True)
class Profile:
    """How much is measured.

    :ivar rounds: samples of each shape and target, at least 5. :ivar seconds: of one sample.
    :ivar size: of the volume in bytes.
    """

    shapes: tuple[Shape, ...]
    rounds: int
    seconds: float
    size: int


def _shape(text: str) -> Shape:
    tool, rw, block, depth, jobs = text.split(":")
    return Shape(tool, rw, parse_size(block), int(depth), int(jobs))


_QUICK = ("fio:randwrite:4K:1:1", "fio:randread:4K:1:1", "fio:randwrite:4K:16:1",
          "fio:randread:4K:16:1", "fio:randwrite:64K:4:1", "qemu-img:write:4K:16:1")  # fmt: skip
_GUEST = ("fio:randwrite:4K:16:1", "fio:randread:4K:16:1", "fio:write:4K:16:1")

PROFILES = {
    "quick": Profile(tuple(map(_shape, _QUICK)), 6, 0.4, 64 << 20),
    "full": Profile(
        tuple(
            Shape(FIO, rw, block, depth, jobs)
            for rw in ("randread", "randwrite", "randrw", "read", "write")
            for block in (4 << 10, 64 << 10, 1 << 20)
            for depth in (1, 16, 64)
            for jobs in (1, 4)
            if depth * block <= 16 << 20
        )
        + tuple(
            Shape(BENCH, rw, block, depth)
            for rw in ("read", "write")
            for block in (4 << 10, 64 << 10)
            for depth in (1, 16, 64)
        ),
        10,
        2.0,
        512 << 20,
    ),
}
"""The profiles of ``--profile``."""
GUEST_PROFILES = {
    "quick": Profile(tuple(map(_shape, _GUEST)), 5, 1.0, 32 << 20),
    "full": Profile(
        tuple(
            Shape(FIO, rw, block, depth, jobs)
            for rw in ("randread", "randwrite", "read", "write")
            for block in (4 << 10, 64 << 10)
            for depth in (1, 16)
            for jobs in (1, 4)
        ),
        10,
        10.0,
        256 << 20,
    ),
}
"""The profiles in a guest: the jobs of the talk are ``fio:randwrite:4k:qd16:x1`` and its kin."""
