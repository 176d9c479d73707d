"""What follows from a write that went to the wrong place, and what is damage of its own."""

from __future__ import annotations

from dataclasses import replace

from oracles.damage import Content, Damage, Operation, What
from oracles.displacement import explained, summary
from oracles.finding import SECTOR, Finding

FAR = 8 * SECTOR
WRITE = Operation(29, 100 * SECTOR, 4 * SECTOR + 115, "write", 12)
PREFILL = Operation(0, 0, 1 << 20, "prefill", 0)


def data_of(number: int) -> Content:
    return Content(What.STAMP, generation=12, operation=number)


def misdirected(number: int = 29, sector: int = 108) -> Finding:
    seen = data_of(number)
    return Finding(
        Damage.MISDIRECTED,
        sector * SECTOR,
        4 * SECTOR,
        seen=seen,
        moved=FAR,
        last_writes=(PREFILL,),
    )


def wrong(damage: Damage, sector: int, *writes: Operation) -> Finding:
    return Finding(damage, sector * SECTOR, SECTOR, last_writes=writes or (PREFILL,))


MISSING = wrong(Damage.NEVER_WRITTEN, 101, WRITE, PREFILL)
OVERWRITTEN = wrong(Damage.BIT_FLIP, 112)


def test_both_ranges_of_a_displaced_write_are_explained_by_it() -> None:
    found = explained([MISSING, OVERWRITTEN, misdirected()])
    assert [one.damage for one in found] == [
        Damage.MISDIRECTED, Damage.NEVER_WRITTEN, Damage.BIT_FLIP,
    ]  # fmt: skip
    assert [one.follows for one in found] == ["", *2 * ["data of write #29 is 8 sectors too high"]]
    assert summary(found) == (
        "data of write #29 is 8 sectors too high; 2 of 3 findings follow from that"
    )


def test_damage_elsewhere_or_by_another_write_has_its_own_cause() -> None:
    beside = wrong(Damage.BIT_FLIP, 113)
    later = replace(
        MISSING, last_writes=(Operation(40, 100 * SECTOR, SECTOR, "write", 20), PREFILL)
    )
    size = Finding(Damage.SIZE, 101 * SECTOR, SECTOR)
    found = explained([misdirected(), MISSING, beside, later, size])
    assert [one.follows for one in found[:-1]] == [""] * 4
    assert found[-1] == replace(MISSING, follows=found[-1].follows)


def test_without_the_range_of_the_write_nothing_is_explained() -> None:
    found = explained([misdirected(), OVERWRITTEN])
    assert [one.follows for one in found] == ["", ""]
    assert summary(found) == "data of write #29 is 8 sectors too high"


def test_several_writes_are_counted() -> None:
    found = [misdirected(number, number) for number in range(30, 36)]
    assert summary(found) == "data of 6 writes (#30, #31, #32, #33, ...) is 8 sectors too high"
    down = replace(misdirected(9), moved=-SECTOR)
    assert summary([down]) == "data of write #9 is 1 sector too low"
    many = [replace(misdirected(number), moved=number * SECTOR) for number in range(1, 7)]
    assert summary(many) == (
        "data of 6 writes (#1, #2, #3, #4, ...) is at wrong places, at 6 different distances"
    )
    assert summary([MISSING]) == ""
    assert explained([MISSING]) == [MISSING]
