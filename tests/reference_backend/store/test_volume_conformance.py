"""Every kind of store behaves like an array of bytes for any sequence of requests."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blockio.errors import BlockError
from blockio.extents import STATE_HOLE, STATE_ZERO
from reference_backend.store.volume import SIZE_MAX, Volume

from .conftest import MakeStore

MAX = 3 << 20  # three chunks of the memory store
EDGES = st.sampled_from(
    [0, 1, 511, 512, 4095, 4096, 4097, 8192, 16384, 65536, (1 << 20) - 1, 1 << 20, 2 << 20]
)
OFFSETS = EDGES | st.integers(0, 1 << 17) | st.integers(0, MAX)
LENGTHS = st.one_of(
    st.sampled_from([0, 1, 100, 512, 4096, 5000, 8192, 1 << 16, 1 << 20]),
    st.integers(0, 40000),
)
Operation = tuple[str, int, int, int, bool]
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), OFFSETS, LENGTHS, st.integers(1, 255), st.booleans()),
    st.tuples(st.just("zero"), OFFSETS, LENGTHS, st.booleans(), st.booleans()),
    st.tuples(st.just("discard"), OFFSETS, LENGTHS, st.just(0), st.booleans()),
    st.tuples(st.just("resize"), OFFSETS, st.just(0), st.just(0), st.just(False)),
    st.tuples(st.just("flush"), st.just(0), st.just(0), st.just(0), st.just(False)),
)
SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def apply(volume: Volume, model: bytearray, operation: Operation) -> None:
    what, offset, length, value, fua = operation
    inside = offset + length <= len(model)
    try:
        if what == "write":
            data = bytes([value]) * length
            volume.write(offset, data, fua=fua)
            model[offset : offset + length] = data
        elif what == "zero":
            volume.write_zeroes(offset, length, no_hole=bool(value), fua=fua)
            model[offset : offset + length] = bytes(length)
        elif what == "discard":
            volume.discard(offset, length, fua=fua)
            model[offset : offset + length] = bytes(length)
        elif what == "resize":
            volume.resize(offset)
            model[offset:] = bytes(max(0, offset - len(model)))
            inside = True
        else:
            volume.flush()
    except BlockError as error:
        assert not inside
        assert error.errno == (errno.EINVAL if what == "discard" else errno.ENOSPC)
    else:
        assert inside


def check_status(volume: Volume, model: bytearray) -> None:
    at = 0
    while at < len(model):
        previous = -1
        for extent in volume.block_status(at, len(model) - at):
            assert extent.length > 0
            assert extent.flags != previous
            previous = extent.flags
            if extent.flags & STATE_ZERO:
                assert not any(model[at : at + extent.length])
            assert not extent.flags & STATE_HOLE or extent.flags & STATE_ZERO
            at += extent.length
        assert at <= len(model)


@SETTINGS
@given(
    size=st.sampled_from([0, 1, 511, 513, 4097, 1 << 20, (1 << 20) + 7, MAX]),
    operations=st.lists(OPERATIONS, max_size=12),
    undo_limit=st.sampled_from([0, 1 << 16, 64 << 20]),
    through=st.booleans(),
)
def test_a_volume_is_an_array_of_bytes(
    make_store: MakeStore, size: int, operations: list[Operation], undo_limit: int, through: bool
) -> None:
    with make_store(size) as store:
        volume = Volume(store, undo_limit=undo_limit, write_through=through)
        model = bytearray(size)
        for operation in operations:
            apply(volume, model, operation)
            assert volume.size == len(model)
        assert bytes(volume.read(0, len(model))) == model
        check_status(volume, model)


@SETTINGS
@given(
    operations=st.lists(OPERATIONS, max_size=8),
    offset=OFFSETS,
    length=LENGTHS,
)
def test_reads_return_just_the_range_asked_for(
    make_store: MakeStore, operations: list[Operation], offset: int, length: int
) -> None:
    with make_store(MAX) as store:
        volume, model = Volume(store), bytearray(MAX)
        for operation in operations:
            apply(volume, model, operation)
        if offset + length <= len(model):
            assert bytes(volume.read(offset, length)) == model[offset : offset + length]
        else:
            with pytest.raises(BlockError) as caught:
                volume.read(offset, length)
            assert caught.value.errno == errno.EINVAL


def test_stores_agree_on_the_map_of_the_same_history(tmp_path: Path) -> None:
    from .conftest import KINDS

    maps = {}
    for kind, make in KINDS.items():
        with make((1 << 20) + 100) as store:
            volume = Volume(store)
            volume.write(5000, b"x" * 20000)
            volume.write(200_000, b"y")
            volume.discard(9000, 5000)
            volume.write_zeroes(12288, 4096, no_hole=False)
            volume.write_zeroes(65536, 8192, no_hole=True)
            volume.write(70000, b"z")
            volume.write((1 << 20) + 50, b"tail")
            volume.write(300_000, bytes(4096))
            volume.discard(300_000, 10)
            volume.flush()
            maps[kind] = volume.block_status(0, volume.size)
    assert len(set(map(tuple, maps.values()))) == 1, maps


@pytest.mark.parametrize("size", [100 << 40, SIZE_MAX])
def test_huge_volumes_cost_what_is_written(make_store: MakeStore, size: int) -> None:
    if make_store.__name__ in {"image", "small_segments"}:
        size = 8 << 40  # one file: as large as ext4 has them
    with make_store(size) as store:
        volume = Volume(store, undo_limit=1 << 20)
        places = [0, size // 3 & -4096, size // 2 & -4096, (size & -4096) - 8192, size - 1]
        for place in places:
            volume.write(place, b"!")
            assert volume.read(place, 1) == b"!"
        volume.write_zeroes(1 << 20, size - (2 << 20) - 100000)
        volume.discard(1 << 20, size // 2)
        assert volume.read(size // 3 & -4096, 1) == b"\0"
        assert len(volume.block_status(0, size)) <= 7
        volume.flush()
        assert volume.allocated() <= len(places) * 4096
        volume.resize(5000)
        volume.resize(size)
        assert volume.read(size - 1, 1) == b"\0"


def test_a_read_only_volume_refuses_every_change(make_store: MakeStore) -> None:
    with make_store(8192) as store:
        volume = Volume(store, read_only=True)
        changes: list[Callable[[], object]] = [
            lambda: volume.write(0, b"x"),
            lambda: volume.write_zeroes(0, 512),
            lambda: volume.discard(0, 512),
            lambda: volume.resize(4096),
        ]
        for change in changes:
            with pytest.raises(BlockError) as caught:
                change()
            assert caught.value.errno == errno.EPERM
        assert bytes(volume.read(0, 8192)) == bytes(8192)
        volume.flush()


def test_sizes_outside_of_63_bits_are_refused(make_store: MakeStore) -> None:
    with make_store(4096) as store:
        volume = Volume(store)
        for size in (-1, SIZE_MAX + 1):
            with pytest.raises(BlockError) as caught:
                volume.resize(size)
            assert caught.value.errno == errno.EINVAL
        assert volume.size == 4096


def test_fast_zero_succeeds_where_the_store_can(make_store: MakeStore) -> None:
    with make_store(1 << 20) as store:
        volume = Volume(store)
        volume.write(0, b"x" * 65536)
        volume.write_zeroes(4096, 8192, fast_zero=True)
        assert bytes(volume.read(4096, 8192)) == bytes(8192)


def test_resize_calls_back_with_the_new_size(make_store: MakeStore) -> None:
    with make_store(4096) as store:
        volume = Volume(store)
        seen: list[int] = []
        volume.on_resize.append(seen.append)
        volume.resize(10000)
        assert seen == [10000]


def test_after_power_off_every_request_ends_the_connection(make_store: MakeStore) -> None:
    with make_store(4096) as store:
        volume = Volume(store)
        volume.power_off()
        for request in (lambda: volume.read(0, 1), lambda: volume.write(0, b"x"), volume.flush):
            with pytest.raises(ConnectionAbortedError):
                request()
        volume.power_on()
        assert volume.read(0, 1) == b"\0"
