"""The region of requests in flight: what a server leaves, and what its successor finds."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import pytest

from reference_backend.vhost_user.inflight import Inflight, new_area, region_bytes

SIZE = 8


@pytest.fixture
def area() -> Iterator[mmap.mmap]:
    fd, length = new_area(2, SIZE)
    mapped = mmap.mmap(fd, length)
    os.close(fd)
    yield mapped
    mapped.close()


def test_requests_in_flight_come_back_in_their_order(area: mmap.mmap) -> None:
    region = Inflight(area, region_bytes(SIZE), SIZE)
    for head in (5, 2, 7):
        region.taken(head)
    region.is_using(2)
    region.used(2, 1)
    assert Inflight(area, region_bytes(SIZE), SIZE).recover(1) == [5, 7]
    assert Inflight(area, 0, SIZE).recover(0) == []  # the other queue


def test_the_last_batch_is_not_in_flight(area: mmap.mmap) -> None:
    region = Inflight(area, 0, SIZE)
    for head in (5, 2):
        region.taken(head)
    for used_index, head in enumerate((5, 2), 65535):
        region.is_using(head)
        region.used(head, used_index % 65536)
    assert region.is_settled(0)
    region.pretend_unfinished()
    assert not region.is_settled(0)
    assert Inflight(area, 0, SIZE).recover(0) == []


def test_a_region_that_does_not_fit_is_refused(area: mmap.mmap) -> None:
    with pytest.raises(ValueError, match="of 384 bytes"):
        Inflight(area, region_bytes(SIZE), 2 * SIZE)
    Inflight(area, 0, SIZE)
    with pytest.raises(ValueError, match="version 1 with 8 entries"):
        Inflight(area, 0, SIZE // 2)
