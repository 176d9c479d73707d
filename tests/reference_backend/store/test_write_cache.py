"""The volatile write cache alone: which contents a power cut may leave."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume
from reference_backend.store.write_cache import SECTOR_BYTES, WriteCache

SECTORS = 40
SIZE = SECTORS * SECTOR_BYTES - 100  # the last sector is a partial one

RANGES = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 6000)).map(
    lambda r: (r[0], min(r[1], SIZE - r[0]))
)
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["write", "write", "write-fua"]), RANGES),
    st.tuples(st.sampled_from(["zero", "zero-fua", "discard"]), RANGES),
    st.tuples(st.just("flush"), st.just((0, 0))),
)
Operation = tuple[str, tuple[int, int]]


class Drawn:
    """A chooser whose every decision hypothesis makes, and shrinks."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def randrange(self, start: int, stop: int) -> int:
        return self.data.draw(st.integers(start, stop - 1))


@dataclass
class Versions:
    """What each sector may hold after a power cut: the durable contents and all pending ones."""

    contents: bytearray = field(default_factory=lambda: bytearray(SIZE))
    allowed: list[list[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settle(0, SIZE)

    def sector(self, number: int) -> bytes:
        return bytes(self.contents[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES])

    def settle(self, offset: int, length: int) -> None:
        self.allowed = self.allowed or [[] for _ in range(SECTORS)]
        for number in self.touched(offset, length):
            self.allowed[number] = [self.sector(number)]

    def touched(self, offset: int, length: int) -> range:
        return range(offset // SECTOR_BYTES, -(-(offset + length) // SECTOR_BYTES))

    def change(self, offset: int, data: bytes, fua: bool) -> None:
        self.contents[offset : offset + len(data)] = data
        for number in self.touched(offset, len(data)):
            self.allowed[number].append(self.sector(number))
        if fua:
            self.settle(offset, len(data))


def play(volume: Volume, versions: Versions, operations: list[Operation]) -> None:
    for number, (what, (offset, length)) in enumerate(operations):
        fua = what.endswith("-fua")
        if what.startswith("write"):
            data = bytes([number + 1]) * length
            volume.write(offset, data, fua=fua)
            versions.change(offset, data, fua)
        elif what == "flush":
            volume.flush()
            versions.settle(0, SIZE)
        else:
            if what == "discard":
                volume.discard(offset, length)
            else:
                volume.write_zeroes(offset, length, fua=fua)
            versions.change(offset, bytes(length), fua)


def check(volume: Volume, versions: Versions) -> None:
    after = bytes(volume.read(0, SIZE))
    for number in range(SECTORS):
        sector = after[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]
        assert sector in versions.allowed[number], f"sector {number}: a third value"


@settings(max_examples=300, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=10), data=st.data())
def test_each_sector_is_durable_or_one_of_the_pending_versions(
    operations: list[Operation], data: st.DataObject
) -> None:
    volume, versions = Volume(MemoryStore(SIZE), undo_limit=1 << 20), Versions()
    play(volume, versions, operations)
    assert bytes(volume.read(0, SIZE)) == versions.contents
    assert volume._cache is not None
    volume._cache.power_cut(volume.store, Drawn(data))
    check(volume, versions)


@settings(max_examples=100, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=30), seed=st.integers(0, 99))
def test_a_smaller_log_makes_more_writes_durable(operations: list[Operation], seed: int) -> None:
    volume, versions = Volume(MemoryStore(SIZE), undo_limit=9000), Versions()
    play(volume, versions, operations)
    assert volume._cache is not None
    assert volume._cache.pending_bytes <= 9000
    volume.power_cut(seed)
    check(volume, versions)


@settings(max_examples=50, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=20), seed=st.integers(0, 1 << 64))
def test_the_same_seed_gives_the_same_bytes(operations: list[Operation], seed: int) -> None:
    results = []
    for _ in range(2):
        volume = Volume(MemoryStore(SIZE), undo_limit=1 << 20)
        play(volume, Versions(), operations)
        volume.power_cut(seed)
        results.append(bytes(volume.read(0, SIZE)))
    assert results[0] == results[1]


def test_every_outcome_of_two_overlapping_writes_happens() -> None:
    """Old, first or second in each of two sectors: all nine combinations that caches allow."""
    seen = set()
    for seed in range(400):
        volume = Volume(MemoryStore(1024), undo_limit=1 << 20)
        volume.write(0, b"o" * 1024, fua=True)
        volume.write(0, b"1" * 1024)
        volume.write(0, b"2" * 1024)
        volume.power_cut(seed)
        seen.add((bytes(volume.read(0, 1)), bytes(volume.read(512, 1))))
    assert seen == {(a, b) for a in (b"o", b"1", b"2") for b in (b"o", b"1", b"2")}


def test_fua_leaves_older_writes_elsewhere_pending() -> None:
    lost = False
    for seed in range(20):
        volume = Volume(MemoryStore(4096), undo_limit=1 << 20)
        volume.write(0, b"a" * 512)
        volume.write(1024, b"b" * 512, fua=True)
        volume.power_cut(seed)
        assert bytes(volume.read(1024, 512)) == b"b" * 512
        lost = lost or bytes(volume.read(0, 512)) == bytes(512)
    assert lost


def test_a_write_after_fua_falls_back_to_the_fua_data_not_behind_it() -> None:
    for seed in range(20):
        volume = Volume(MemoryStore(512), undo_limit=1 << 20)
        volume.write(0, b"a" * 512)
        volume.write(0, b"b" * 512, fua=True)
        volume.write(0, b"c" * 512)
        volume.power_cut(seed)
        assert bytes(volume.read(0, 1)) in {b"b", b"c"}


def test_what_is_written_during_a_flush_stays_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(MemoryStore(4096), undo_limit=1 << 20)
    volume.write(0, b"a" * 512)

    def write_meanwhile() -> None:
        volume.write(512, b"b" * 512)

    monkeypatch.setattr(volume.store, "sync", write_meanwhile)
    volume.flush()
    assert volume.pending() == 1


def test_a_failed_flush_keeps_everything_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(MemoryStore(4096), undo_limit=1 << 20)
    volume.write(0, b"a" * 512)

    def fail() -> None:
        msg = "medium"
        raise OSError(msg)

    monkeypatch.setattr(volume.store, "sync", fail)
    with pytest.raises(OSError, match="medium"):
        volume.flush()
    assert volume.pending() == 1


def test_write_through_has_no_pending_writes() -> None:
    volume = Volume(MemoryStore(4096), undo_limit=1 << 20, write_through=True)
    volume.write(0, b"a" * 4096)
    volume.power_cut(1)
    assert volume.pending() == 0
    assert bytes(volume.read(0, 4096)) == b"a" * 4096


def test_an_operation_larger_than_the_log_makes_everything_durable() -> None:
    volume = Volume(MemoryStore(1 << 20), undo_limit=65536)
    volume.write(0, b"a" * 512)
    volume.write(4096, b"b" * 131072)
    volume.power_cut(3)
    assert bytes(volume.read(0, 512)) == b"a" * 512
    assert bytes(volume.read(4096, 131072)) == b"b" * 131072
    volume.flush()
    volume.discard(4096, 131072)
    assert volume.pending() == 0


def test_discarding_a_huge_hole_is_logged_at_no_cost() -> None:
    outcomes = set()
    for seed in range(20):
        volume = Volume(MemoryStore(1 << 60), undo_limit=1 << 20)
        volume.write(1 << 50, b"x" * 512)
        volume.flush()
        volume.discard(0, 1 << 60)
        assert volume.pending() == 1
        volume.power_cut(seed)
        outcomes.add(bytes(volume.read(1 << 50, 512)))
    assert outcomes == {b"x" * 512, bytes(512)}


def resized(old: int, new: int, seed: int) -> tuple[Volume, bool]:
    volume = Volume(MemoryStore(old), undo_limit=1 << 20)
    volume.write(0, b"o" * old, fua=True)
    volume.resize(new)
    volume.write(0, b"n" * new)
    volume.power_cut(seed)
    return volume, volume.size == old


def test_a_resize_survives_or_is_lost_with_all_that_followed() -> None:
    for old, new in ((1000, 5000), (5000, 1000)):
        outcomes = set()
        for seed in range(30):
            volume, lost = resized(old, new, seed)
            outcomes.add(lost)
            assert volume.size in {old, new}
            if lost:
                assert bytes(volume.read(0, old)) == b"o" * old
        assert outcomes == {True, False}


def test_fua_beyond_a_pending_growth_makes_the_growth_durable() -> None:
    for seed in range(20):
        volume = Volume(MemoryStore(1024), undo_limit=1 << 20)
        volume.resize(4096)
        volume.write(2048, b"f" * 512, fua=True)
        volume.power_cut(seed)
        assert volume.size == 4096
        assert bytes(volume.read(2048, 512)) == b"f" * 512


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(0, SIZE), min_size=1, max_size=4),
    data=st.data(),
)
def test_resizes_leave_one_of_the_sizes_and_only_known_bytes(
    sizes: list[int], data: st.DataObject
) -> None:
    volume = Volume(MemoryStore(SIZE), undo_limit=1 << 20)
    volume.write(0, b"o" * SIZE, fua=True)
    for number, size in enumerate(sizes):
        volume.resize(size)
        if size:
            volume.write(size // 2, bytes([number + 1]) * (size - size // 2))
    assert volume._cache is not None
    volume._cache.power_cut(volume.store, Drawn(data))
    assert volume.store.size in {SIZE, *sizes}
    assert set(volume.store.read(0, volume.store.size)) <= {0, ord("o"), *range(1, 5)}


def test_the_log_is_bounded_by_its_limit_and_keeps_the_newest() -> None:
    cache = WriteCache(10_000)
    for number in range(1000):
        cache.record(number * 512, number * 512 + 512, bytes(512))
    assert cache.pending_bytes <= 10_000
    assert len(cache) == 10_000 // (512 + 256)
    store = MemoryStore(512 * 1000)
    store.write(0, b"n" * store.size)
    cache.power_cut(store, random.Random(1))
    assert store.read(0, 512 * 900) == b"n" * (512 * 900)
