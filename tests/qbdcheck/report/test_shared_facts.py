"""The facts that all findings of some failures share."""

from __future__ import annotations

from oracles.damage import Damage, Operation
from oracles.finding import SECTOR, Finding
from oracles.linearizability import Access, check
from qbdcheck.report.shared_facts import shared_facts


def torn(sector: int, *part: int) -> Finding:
    return Finding(Damage.TORN, sector * SECTOR, SECTOR, part=(part[0], part[1]))


def test_the_byte_is_told_where_it_is_always_the_same() -> None:
    same = [torn(1, 0, 192), torn(3, 0, 192), torn(4, 192, 512)]
    assert shared_facts(same) == ["always at byte 192 of the sector"]
    assert shared_facts([*same, torn(5, 0, 64)]) == []
    assert shared_facts([*same, Finding(Damage.ZEROED, 0, SECTOR)]) == []
    assert shared_facts(same[:1]) == []


def test_the_writes_are_counted_with_their_lengths() -> None:
    def gone(number: int, length: int) -> Finding:
        write = Operation(number, number * 4096, length, "write")
        return Finding(Damage.NEVER_WRITTEN, number * 4096, SECTOR, last_writes=(write,))

    assert shared_facts([gone(1, 1), gone(2, 53482), gone(2, 53482)]) == [
        "2 writes lost, 1 to 53482 bytes"
    ]
    assert shared_facts([gone(1, 1)]) == []


def lost(offset: int, length: int, damage: Damage = Damage.ZEROED) -> Finding:
    return Finding(damage, offset, length)


def test_the_unit_is_told_at_whose_multiples_lost_data_ends() -> None:
    ends = [lost(28672, 4096), lost(86016, 12288), lost(61440, 4096, Damage.LOST)]
    assert shared_facts(ends) == ["always up to a multiple of 32 KiB"]
    assert shared_facts(ends[:2]) == []
    assert shared_facts([*ends, lost(4096, 4096)]) == []
    assert shared_facts([*ends, lost(28672, 4096, Damage.MISDIRECTED)]) == []
    whole_units = [lost(number << 15, 1 << 15) for number in range(1, 5)]
    assert shared_facts(whole_units) == []


def test_the_part_of_the_volume_is_told_that_has_all_damage() -> None:
    places = [lost((768 + 20 * number) << 10, 512, Damage.MISDIRECTED) for number in range(12)]
    assert shared_facts(places) == ["all of it between 768 KiB and 1 MiB"]
    assert shared_facts(places[:7]) == []
    assert shared_facts([*places, lost(4096, 512, Damage.MISDIRECTED)]) == []
    assert shared_facts([*places, lost(64 << 20, 512, Damage.MISDIRECTED)]) == []
    assert shared_facts([*places, Finding(Damage.ERROR, request="WRITE")]) == []


def history(sector: int, reader: int) -> Finding:
    (anomaly,) = check([
        Access(sector, True, 1, 0, 1, 1, 1),
        Access(sector, True, 2, 2, 3, 1, 2),
        Access(sector, False, 1, 4, 5, reader, 3),
    ])  # fmt: skip
    return anomaly.finding


def test_connections_are_told_apart() -> None:
    assert shared_facts([history(1, 2), history(2, 3)]) == ["only across connections"]
    assert shared_facts([history(1, 1), history(2, 1)]) == ["only on one connection"]
    assert shared_facts([history(1, 1), history(2, 2)]) == []
