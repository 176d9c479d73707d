"""The shadow agrees with a naive disk that picks legal answers at random, and with naive sets."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.shadow import Shadow
from oracles.stamps import SECTOR

SIZE = 5 * SECTOR + 77
Place = tuple[int, int]
Step = tuple[str, Place, int, Place]

places = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 2 * SECTOR)).map(
    lambda place: (place[0], min(place[1], SIZE - place[0]))
)
kinds = st.sampled_from(
    ["write", "write", "fua", "maybe", "pattern", "zero", "discard", "discard0", "flush",
     "power_cut", "concurrent", "resize"]
)  # fmt: skip
steps = st.lists(st.tuples(kinds, places, st.integers(1, 255), places), max_size=14)


class Disk:
    """A correct disk with a write cache; it decides by lot wherever a disk may decide."""

    def __init__(self, lot: random.Random) -> None:
        self.lot = lot
        self.now = bytearray(SIZE)
        self.durable = bytearray(SIZE)
        self.cached: list[tuple[int, bytes, bool]] = []

    def put(self, offset: int, data: bytes, fua: bool = False, maybe: bool = False) -> None:
        for low, part in self.sectors(offset, data):
            if maybe and self.lot.random() < 0.5:
                continue
            self.now[low : low + len(part)] = part
            self.cached.append((low, part, fua))

    @staticmethod
    def sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
        parts, at = [], 0
        while at < len(data):
            step = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
            parts.append((offset + at, data[at : at + step]))
            at += step
        return parts

    def together(self, writes: list[tuple[int, bytes]]) -> None:
        parts = [part for offset, data in writes for part in self.sectors(offset, data)]
        self.lot.shuffle(parts)
        for offset, data in parts:
            self.put(offset, data)

    def flush(self) -> None:
        self.durable[:] = self.now
        self.cached.clear()

    def power_cut(self) -> None:
        for offset, data, fua in self.cached:
            if fua or self.lot.random() < 0.5:
                self.durable[offset : offset + len(data)] = data
        self.now[:] = self.durable
        self.cached.clear()

    def resize(self, size: int) -> None:
        for image in (self.now, self.durable):
            image[size:] = bytes(len(image) - size)
        self.cached = [(o, d[: max(size - o, 0)], fua) for o, d, fua in self.cached]


def perform(step: Step, shadow: Shadow, disk: Disk) -> None:  # a table of steps
    kind, (offset, length), byte, (offset2, length2) = step
    data = bytes((byte + i) % 251 for i in range(length))
    if kind in ("write", "fua"):
        shadow.write(offset, data, fua=kind == "fua")
        disk.put(offset, data, fua=kind == "fua")
    elif kind == "maybe":
        shadow.maybe_write(offset, data)
        disk.put(offset, data, maybe=True)
    elif kind == "pattern":
        shadow.pattern(offset, length, byte)
        disk.put(offset, bytes([byte]) * length)
    elif kind == "zero":
        shadow.zero(offset, length)
        disk.put(offset, bytes(length))
    elif kind.startswith("discard"):
        shadow.discard(offset, length, reads_zero=kind == "discard0")
        disk.put(offset, bytes(length), maybe=kind == "discard")
    elif kind == "concurrent":
        writes = [(offset, data), (offset2, bytes([byte ^ 0xFF]) * length2)]
        shadow.concurrent(writes)
        disk.together(writes)
    elif kind == "resize":
        shadow.resize(offset)
        shadow.resize(SIZE)
        disk.resize(offset)
    elif kind == "flush":
        shadow.flush()
        disk.flush()
    else:
        shadow.power_cut()
        disk.power_cut()


@settings(max_examples=250, deadline=None)
@given(steps=steps, lot=st.randoms(use_true_random=False))
def test_a_correct_disk_is_never_accused(steps: list[Step], lot: random.Random) -> None:
    shadow, disk = Shadow(SIZE), Disk(lot)
    for step in steps:
        perform(step, shadow, disk)
        assert shadow.check(0, bytes(disk.now)) == []


@settings(max_examples=150, deadline=None)
@given(steps=steps, lot=st.randoms(use_true_random=False))
def test_a_disk_stays_right_when_each_read_settles_what_it_saw(
    steps: list[Step], lot: random.Random
) -> None:
    shadow, disk = Shadow(SIZE), Disk(lot)
    for step in steps:
        perform(step, shadow, disk)
        shadow.settle(0, bytes(disk.now))
    if not shadow.unjudged():
        assert shadow.expected(0, SIZE) == bytes(disk.now)


certain = st.sampled_from(["write", "fua", "pattern", "zero", "discard0", "flush", "resize"])


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.tuples(certain, places, st.integers(1, 255), places), max_size=20),
    wrong=st.integers(0, SIZE - 1),
    bits=st.integers(1, 255),
)
def test_without_ambiguity_exactly_one_image_is_permitted(
    steps: list[Step], wrong: int, bits: int
) -> None:
    shadow, disk = Shadow(SIZE), Disk(random.Random(1))
    for step in steps:
        perform(step, shadow, disk)
    assert shadow.expected(0, SIZE) == bytes(disk.now)
    seen = bytearray(disk.now)
    seen[wrong] ^= bits
    (finding,) = shadow.check(0, seen)
    assert finding.first_difference == wrong


@settings(max_examples=100, deadline=None)
@given(steps=steps)
def test_whole_sector_steps_permit_exactly_the_naive_set_of_contents(steps: list[Step]) -> None:
    shadow = Shadow(SECTOR)
    naive: set[bytes] = {bytes(SECTOR)}
    durable: set[bytes] = set(naive)
    pending: list[bytes] = []
    for kind, _, byte, _ in steps:
        data = bytes([byte]) * SECTOR
        if kind in ("write", "fua", "maybe"):
            shadow_call = shadow.maybe_write if kind == "maybe" else shadow.write
            shadow_call(0, data)
            naive = naive | {data} if kind == "maybe" else {data}
            pending.append(data)
        elif kind == "flush":
            shadow.flush()
            durable, pending = set(naive), []
        elif kind == "power_cut":
            shadow.power_cut()
            naive = durable | set(pending)
            durable, pending = set(naive), []
    for byte in {*range(8), *(data[0] for data in naive), *(step[2] for step in steps)}:
        data = bytes([byte]) * SECTOR
        assert (shadow.check(0, data) == []) == (data in naive)
