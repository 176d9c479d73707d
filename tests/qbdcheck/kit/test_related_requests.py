"""Related requests: they stay in the volume and in its blocks, and they repeat each other."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from blockio.layers import CommandFlag
from qbdcheck.kit.related_requests import RelatedRequests

SIZE, UNIT = 1 << 20, 65536


class Io:
    """Records requests; ``block_sizes`` are those of the export."""

    def __init__(self, minimum: int, longest: int) -> None:
        self.block_sizes = (minimum, 4096, longest)
        self.sent: list[tuple[str, int, int, int, bytes | None]] = []

    @staticmethod
    def offers(_flag: object) -> bool:
        return True

    def write(self, at: int, length: int, flags: int, *, data: bytes | None) -> bytes:
        self.sent.append(("write", at, length, flags, data))
        return data if data is not None else bytes(length)

    def write_zeroes(self, at: int, length: int, flags: int) -> None:
        self.sent.append(("zero", at, length, flags, None))

    def discard(self, at: int, length: int, flags: int) -> None:
        self.sent.append(("discard", at, length, flags, None))

    def attempt(self, _command: int, at: int, length: int) -> int:
        assert at >= 0 and length > 0 and at + length <= SIZE
        return 0


def made(
    minimum: int = 1, longest: int = 1 << 25, seed: int = 3, **options: Any
) -> tuple[Io, RelatedRequests]:
    io: Any = Io(minimum, longest)
    return io, RelatedRequests(random.Random(seed), SIZE, io, **options)


@pytest.mark.parametrize(("minimum", "longest"), [(1, 1 << 25), (4096, 65536), (512, 16384)])
def test_requests_keep_to_the_volume_and_its_blocks(minimum: int, longest: int) -> None:
    io, related = made(minimum, longest)
    for _ in range(1000):
        at, length = related.change(io)  # type: ignore[arg-type]
        assert at >= 0 and 0 < length <= longest and at + length <= SIZE
        assert at % minimum == length % minimum == 0
        start, around = related.around(at, length)
        assert start <= at and around <= longest and start + around <= SIZE
        assert start % minimum == around % minimum == 0


def test_instances_differ_in_their_kinds() -> None:
    kinds = set()
    for seed in range(40):
        io, related = made(seed=seed)
        for _ in range(60):
            related.change(io)  # type: ignore[arg-type]
        kinds.add(frozenset(sent[0] for sent in io.sent))
    assert {"write", "zero", "discard"} in kinds and len(kinds) > 2


def test_requests_repeat_and_touch_each_other() -> None:
    io, related = made(fua=0.5)
    for _ in range(1000):
        related.change(io)  # type: ignore[arg-type]
    pairs = list(zip(io.sent, io.sent[1:], strict=False))
    again = sum(one[:3] == other[:3] for one, other in pairs)
    follows = sum(one[1] + one[2] == other[1] for one, other in pairs)
    assert again > 100 and follows > 3
    share = sum(bool(sent[3] & CommandFlag.FUA) for sent in io.sent) / len(io.sent)
    assert 0.4 < share < 0.6


def test_the_second_of_a_pair_has_fua() -> None:
    io, related = made(fua=0)
    for _ in range(100):
        related.pair_with_fua(io)  # type: ignore[arg-type]
    flags = Counter((number % 2, bool(one[3] & 1)) for number, one in enumerate(io.sent))
    assert flags == {(0, False): 100, (1, True): 100}
