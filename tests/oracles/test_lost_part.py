"""A lost write of a part of a sector is no torn write, and its data is looked for elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from oracles.damage import Damage
from oracles.finding import SECTOR, Finding, Findings
from oracles.shadow import Shadow
from oracles.stamps import Identity

SECTORS = 32
HALF = 5 * SECTOR + 77


@pytest.fixture
def shadow() -> Shadow:
    shadow = Shadow(SECTORS * SECTOR, Identity(1, 2))
    shadow.prefill()
    return shadow


def checked(shadow: Shadow, change: Callable[[np.ndarray], None]) -> Findings:
    """Write the second part of sector 5, and check the volume with a change of what is there."""
    before = shadow.expected(0, shadow.size)
    shadow.write(HALF - 77, shadow.stamped(HALF - 77, 77))
    shadow.write(HALF, shadow.stamped(HALF, 200))
    seen = np.frombuffer(shadow.expected(0, shadow.size), dtype=np.uint8).copy()
    seen[HALF : HALF + 200] = np.frombuffer(before, dtype=np.uint8)[HALF : HALF + 200]
    change(seen)
    return shadow.check(0, seen)


def data_of(shadow: Shadow) -> np.ndarray:
    return np.frombuffer(shadow.expected(HALF, 200), dtype=np.uint8)


def test_a_tear_at_the_edges_of_a_write_is_a_lost_write(shadow: Shadow) -> None:
    (finding,) = checked(shadow, lambda _: None)
    assert (finding.damage, finding.part) == (Damage.STALE, (77, 277))
    assert finding.found_at is None


def test_a_tear_anywhere_else_is_torn(shadow: Shadow) -> None:
    def tear(seen: np.ndarray) -> None:
        seen[HALF + 100 : HALF + 200] = data_of(shadow)[100:]

    (finding,) = checked(shadow, tear)
    assert finding.damage is Damage.TORN


@pytest.mark.parametrize("away", [3 * SECTOR, -4 * SECTOR, SECTOR + 9])
def test_the_data_of_a_lost_part_is_found_elsewhere(shadow: Shadow, away: int) -> None:
    def misdirect(seen: np.ndarray) -> None:
        seen[HALF + away : HALF + away + 200] = data_of(shadow)

    findings = [one for one in checked(shadow, misdirect) if one.sector == 5]
    assert findings[0].found_at == findings[0].offset + away
    assert "found instead at sector" in findings[0].text


def test_a_read_that_begins_inside_the_sector_finds_the_place_too(shadow: Shadow) -> None:
    before = np.frombuffer(shadow.expected(0, shadow.size), dtype=np.uint8)
    start, length, away = 4 * SECTOR + 100, 3 * SECTOR, 8 * SECTOR
    shadow.write(start, shadow.stamped(start, length))
    seen = before.copy()
    lost = np.frombuffer(shadow.expected(start, length), dtype=np.uint8)
    seen[start + away : start + away + length] = lost
    first = 5 * SECTOR + 50
    findings = shadow.check(first, seen[first : 6 * SECTOR])
    shadow.search(findings, seen, 0)
    (found,) = findings
    assert (found.sector, found.found_at) == (5, found.offset + away)


def test_equal_data_that_belongs_elsewhere_is_no_place_of_a_lost_part(shadow: Shadow) -> None:
    data = shadow.stamped(HALF, 200)
    shadow.write(20 * SECTOR, data)
    before = shadow.expected(HALF, 200)
    shadow.write(HALF, data)
    seen = np.frombuffer(shadow.expected(0, shadow.size), dtype=np.uint8).copy()
    seen[HALF : HALF + 200] = np.frombuffer(before, dtype=np.uint8)
    assert [one.found_at for one in shadow.check(0, seen)] == [None]


def test_a_stamp_that_begins_within_a_sector_by_right_is_not_shifted(shadow: Shadow) -> None:
    whole = shadow.stamped(16 * SECTOR, 2 * SECTOR)
    before = shadow.expected(HALF, SECTOR)
    shadow.write(HALF, whole)
    seen = np.frombuffer(shadow.expected(0, shadow.size), dtype=np.uint8).copy()
    seen[HALF : HALF + SECTOR] = np.frombuffer(before, dtype=np.uint8)
    assert Damage.SHIFTED not in {one.damage for one in shadow.check(0, seen)}


def test_a_finding_has_all_bytes_of_its_sector(shadow: Shadow) -> None:
    (finding,) = checked(shadow, lambda _: None)
    whole = finding.sector_bytes
    assert whole is not None
    assert (whole.offset, len(whole.expected), len(whole.seen)) == (5 * SECTOR, SECTOR, SECTOR)
    differing = [at for at in range(SECTOR) if whole.expected[at] != whole.seen[at]]
    assert (77 <= differing[0] < 90) and (270 < differing[-1] < 277)
    members = finding.to_json()
    assert Finding.from_json(members).sector_bytes == whole
    del members["sector_bytes"]  # a report of an older version
    assert Finding.from_json(members) == finding
