"""Power cuts over every kind of store, and requests from many threads."""

from __future__ import annotations

import random
import threading

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.volume import SIZE_MAX, Volume

from .conftest import MakeStore
from .test_write_cache import OPERATIONS, SIZE, Operation, Versions, check, play


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(OPERATIONS, max_size=10), seed=st.integers(0, 1 << 32))
def test_after_a_power_cut_each_sector_has_an_old_or_a_new_value(
    make_store: MakeStore, operations: list[Operation], seed: int
) -> None:
    with make_store(SIZE) as store:
        volume, versions = Volume(store, undo_limit=1 << 20), Versions()
        play(volume, versions, operations)
        volume.power_cut(seed)
        check(volume, versions)


def test_a_lost_shrink_restores_the_removed_bytes(make_store: MakeStore) -> None:
    outcomes = set()
    for seed in range(10):
        with make_store(100_000) as store:
            volume = Volume(store, undo_limit=1 << 20)
            volume.write(0, b"o" * 100_000)
            volume.flush()
            volume.resize(5000)
            volume.resize(100_000)
            volume.power_cut(seed)
            outcomes.add((volume.size, bytes(volume.read(0, volume.size))))
    assert outcomes == {
        (100_000, b"o" * 100_000),
        (5000, b"o" * 5000),
        (100_000, b"o" * 5000 + bytes(95_000)),
    }


def test_requests_of_many_threads_are_atomic_towards_each_other(make_store: MakeStore) -> None:
    """Writers fill a range across two chunks or segments with one byte each; readers see one."""
    with make_store(2 * CHUNK_BYTES) as store:
        volume = Volume(store, undo_limit=1 << 20)
        start, length = CHUNK_BYTES - 8192, 16384
        mixed: list[set[int]] = []
        stop = threading.Event()

        def write(value: int) -> None:
            data = bytes([value]) * length
            for _ in range(150):
                volume.write(start, data)
                volume.flush()

        def read() -> None:
            while not stop.is_set():
                found = set(volume.read(start, length))
                if len(found) > 1:
                    mixed.append(found)

        readers = [threading.Thread(target=read) for _ in range(2)]
        writers = [threading.Thread(target=write, args=(value,)) for value in (1, 2)]
        for thread in readers + writers:
            thread.start()
        for thread in writers:
            thread.join()
        stop.set()
        for thread in readers:
            thread.join()
        assert not mixed


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * 4096


def test_memory_is_in_proportion_to_what_is_written_and_comes_back() -> None:
    volume = Volume(MemoryStore(SIZE_MAX))
    chooser = random.Random(2)
    places = [chooser.randrange(SIZE_MAX >> 12) << 12 for _ in range(3000)]
    before = resident_bytes()
    for place in places:
        volume.write(place, b"x" * 4096)
    written = resident_bytes() - before
    assert written < 4 * len(places) * 4096, "one block and its bookkeeping each, not a chunk"
    dense = 64 << 20
    for place in range(0, dense, 1 << 20):
        volume.write(place, b"y" * (1 << 20))
    full = resident_bytes()
    for place in range(0, dense, 1 << 20):
        volume.discard(place + 4096, (1 << 20) - 4096)
    assert full - resident_bytes() > dense * 0.9
    assert volume.allocated() == (len(set(places)) + dense // (1 << 20)) * 4096
