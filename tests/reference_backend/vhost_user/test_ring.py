"""Rings: what the driver's side writes is what the device's side reads, and the other way round."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import pytest

from reference_backend.vhost_user.device_ring import BadRing, DeviceRing, GuestMemory, Region
from reference_backend.vhost_user.memory import GUEST_BASE, USER_BASE, NoRoom, SharedMemory
from reference_backend.vhost_user.requests import pieces_of
from reference_backend.vhost_user.ring import DESCRIPTOR, Ring, RingError, Segment

SIZE = 8


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    shared = SharedMemory(1 << 20)
    yield shared
    shared.close()


def regions(memory: SharedMemory, count: int = 1) -> GuestMemory:
    step = memory.size // count
    mapped = mmap.mmap(memory.fd, memory.size)
    return GuestMemory(
        [
            Region(GUEST_BASE + at, step, USER_BASE + at, mapped, at)
            for at in range(0, memory.size, step)
        ]
    )


def device_of(ring: Ring, start: int = 0, *, event_idx: bool = False) -> DeviceRing:
    return DeviceRing(regions(ring.memory), ring.size, ring.addresses(), start, event_idx=event_idx)


@pytest.mark.parametrize("event_idx", [False, True])
@pytest.mark.parametrize("start", [0, 65534])
def test_each_chain_is_taken_and_used_once(
    memory: SharedMemory, start: int, event_idx: bool
) -> None:
    ring = Ring(memory, SIZE, start=start, event_idx=event_idx)
    device = device_of(ring, start, event_idx=event_idx)
    at = memory.take(4096)
    for number in range(5):
        memory.map[at : at + 4] = bytes((number,)) * 4
        head = ring.add([Segment(at, 4, to_driver=False), Segment(at + 8, 2, to_driver=True)])
        assert ring.must_notify(1)
        ring.expect_interrupt()
        assert device.take() == [head]
        chain = device.chain(head)
        assert [bytes(part) for part in chain.reads] == [bytes((number,)) * 4]
        chain.writes[0][:] = b"ok"
        assert device.put(head, 2)
        assert ring.used_count() == 1
        assert ring.pop() == [(head, 2)]
        assert memory.map[at + 8 : at + 10] == b"ok"
    assert ring.outstanding() == 0
    assert ring.room() == SIZE


def test_an_indirect_table_takes_one_descriptor(memory: SharedMemory) -> None:
    ring = Ring(memory, SIZE)
    device = device_of(ring)
    at = memory.take(8192)
    segments = [Segment(at + 512 * n, 512, to_driver=n > 3) for n in range(8)]
    head = ring.add(segments, indirect=at + 7000 // 16 * 16)
    assert ring.room() == SIZE - 1
    chain = device.chain(head)
    assert (len(chain.reads), len(chain.writes)) == (4, 4)


def test_a_range_across_regions_has_two_parts(memory: SharedMemory) -> None:
    guest = regions(memory, count=2)
    parts = guest.ranges(GUEST_BASE + (1 << 19) - 16, 32)
    assert [len(part) for part in parts] == [16, 16]
    with pytest.raises(BadRing, match="in no region"):
        guest.ranges(GUEST_BASE + (1 << 20) - 16, 32)
    with pytest.raises(BadRing, match="in no region"):
        guest.user(USER_BASE + (1 << 19) - 16, 32)


@pytest.mark.parametrize(
    ("descriptors", "message"),
    [
        ([(GUEST_BASE, 16, 1, 1), (GUEST_BASE, 16, 1, 0)], "more than 8 descriptors"),
        ([(GUEST_BASE, 16, 1, 60000)], "descriptor 60000"),
        ([(GUEST_BASE, 17, 4, 0)], "indirect table"),
        ([(GUEST_BASE + (1 << 20), 1, 0, 0)], "in no region"),
    ],
)
def test_a_wrong_chain_is_refused(
    memory: SharedMemory, descriptors: list[tuple[int, int, int, int]], message: str
) -> None:
    ring = Ring(memory, SIZE)
    for number, fields in enumerate(descriptors):
        DESCRIPTOR.pack_into(memory.map, ring.offset + 16 * number, *fields)
    with pytest.raises(BadRing, match=message):
        device_of(ring).chain(0)


def test_an_index_that_leaps_is_refused(memory: SharedMemory) -> None:
    ring = Ring(memory, SIZE)
    ring.publish(0, 40)
    with pytest.raises(BadRing, match="40 chains"):
        device_of(ring).take()


def test_a_chain_that_nobody_sent_is_noticed(memory: SharedMemory) -> None:
    ring = Ring(memory, SIZE)
    device = device_of(ring)
    head = ring.add([Segment(0, 4, to_driver=False)])
    device.put(head + 1, 0)
    with pytest.raises(RingError, match="no request begins there"):
        ring.pop()
    ring = Ring(memory, SIZE)
    head = ring.add([Segment(0, 4, to_driver=False)])
    device = device_of(ring)
    device.put(head, 0)
    device.put(head, 0)
    with pytest.raises(RingError, match=r"2 new elements \(its index went from 0 to 2\)"):
        ring.pop()


def test_a_full_ring_says_so(memory: SharedMemory) -> None:
    ring = Ring(memory, 2)
    with pytest.raises(IndexError, match="3 descriptors are needed, and 2 are free"):
        ring.add([Segment(0, 4, to_driver=False)] * 3)


def test_memory_that_was_given_back_is_taken_again(memory: SharedMemory) -> None:
    first, second, third = (memory.take(1 << 18) for _ in range(3))
    memory.give_back(first, 1 << 18)
    memory.give_back(third, 1 << 18)
    memory.give_back(second, 1 << 18)
    whole = memory.take(1 << 20)
    assert whole == 0
    with pytest.raises(NoRoom, match="no 4096 bytes"):
        memory.take(1, patience_s=0)


def test_pieces_cover_a_request() -> None:
    assert pieces_of(0, 512, 4) == []
    assert pieces_of(1024, 512, 4) == [512, 512]
    assert pieces_of(8192, 512, 4) == [2048] * 4
    assert sum(pieces_of(1 << 20, 4096, 126)) == 1 << 20
