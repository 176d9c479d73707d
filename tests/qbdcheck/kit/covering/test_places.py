"""Places by classes: they have what the name of the class says, and stay within the volume."""

from __future__ import annotations

import random

import pytest

from qbdcheck.kit.covering.places import OFFSETS, RELATIONS, SIZES, place, related

SECTOR, PAGE, UNIT, MIB = 512, 4096, 65536, 1 << 20
VOLUMES = (2 * MIB + SECTOR, 64 * MIB + SECTOR, (8 << 30) + SECTOR)
EDGES = {"4K": PAGE, "64K": UNIT, "1M": MIB, "4M": 4 * MIB}


@pytest.mark.parametrize("volume", VOLUMES)
@pytest.mark.parametrize("offset", OFFSETS)
def test_all_places_are_in_the_volume(volume: int, offset: str) -> None:
    chance = random.Random(offset)
    for size in SIZES:
        for low in (0, MIB):
            at, length = place(chance, size, offset, volume, low)
            assert low <= at and length > 0 and at + length <= volume
            assert length in SIZES[size] or length == volume - low
            for relation in RELATIONS:
                start, count = related(chance, relation, at, length, volume)
                assert start >= 0 and count > 0 and start + count <= volume


@pytest.mark.parametrize("edge", EDGES)
def test_offsets_are_near_their_edge(edge: str) -> None:
    chance, unit, volume = random.Random(edge), EDGES[edge], VOLUMES[2]
    for _ in range(50):
        assert place(chance, "4K", f"at {edge}", volume)[0] % unit == 0
        assert place(chance, "4K", f"behind {edge}", volume)[0] % unit == SECTOR
        assert place(chance, "4K", f"before {edge}", volume)[0] % unit == unit - SECTOR
        at, length = place(chance, "64K+512", f"ends at {edge}", volume)
        assert (at + length) % unit == 0
        at, length = place(chance, "8K-32K", f"across {edge}", volume)
        assert at // unit < (at + length - 1) // unit


def test_places_end_at_the_end_and_cross_powers_of_two() -> None:
    chance, volume = random.Random(1), VOLUMES[2]
    crossed = set()
    for _ in range(200):
        at, length = place(chance, "odd below 64K", "end", volume)
        assert at + length == volume
        at, length = place(chance, "4K", "across a power of two", volume)
        crossed |= {bits for bits in range(20, 34) if at < 1 << bits < at + length}
    assert {20, 26, 32} <= crossed


def test_relations_are_what_they_are_called() -> None:
    chance, at, length, volume = random.Random(2), 5 * MIB, 20_480, VOLUMES[1]
    end = at + length
    for _ in range(50):
        where = {name: related(chance, name, at, length, volume) for name in RELATIONS}
        ends = {name: sum(found) for name, found in where.items()}
        assert where["same"] == (at, length)
        assert where["over its start"][0] < at < ends["over its start"] < end
        assert at < where["over its end"][0] < end < ends["over its end"]
        assert at < where["inside"][0] and ends["inside"] < end
        assert where["around"][0] < at and ends["around"] > end
        assert where["just before"][0] < at == ends["just before"]
        assert where["just behind"][0] == end < ends["just behind"]
        assert at <= where["a sector of it"][0] and 0 < where["a sector of it"][1] <= SECTOR
        distance = abs(where["a power of two away"][0] - at)
        assert distance & (distance - 1) == 0 and distance >= length
