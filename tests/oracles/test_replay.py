"""The change that explains a sector is found by replaying all requests that touched it."""

from __future__ import annotations

from random import Random

import pytest

from oracles.damage import Damage
from oracles.finding import Finding
from oracles.fits import How
from oracles.shadow import Shadow

SECTOR = 512
CLONE = 7
"""The writer of a copy."""


def _shadow() -> Shadow:
    shadow = Shadow(1 << 20)
    shadow.prefill()
    return shadow


def _write(shadow: Shadow, offset: int, length: int) -> bytes:
    data = shadow.stamped(offset, length)
    shadow.write(offset, data)
    return data


def _only(shadow: Shadow, data: bytes) -> Finding:
    (found,) = shadow.check(0, data)
    assert Finding.from_json(found.to_json()).fit == found.fit
    return found


def test_a_change_that_is_missing_among_others_is_named() -> None:
    shadow, without = _shadow(), _shadow()
    for each in (shadow, without):
        _write(each, 0, 100)
    _write(shadow, 50, 300)
    without.next_operation()
    last = _write(shadow, 200, 100)
    seen = bytearray(without.expected(0, SECTOR))
    seen[200:300] = last
    found = _only(shadow, bytes(seen))
    assert found.damage is Damage.STALE
    assert found.part == (50, 350)
    assert found.fit is not None and found.fit.how is How.MISSING
    assert (
        found.fit.text == "is exactly what it would be without write #2 of 300 bytes at offset 50"
    )
    assert found.culprit is not None and found.life[found.culprit.place].number == 2


def test_a_sector_as_it_was_before_several_changes_names_the_first_of_them() -> None:
    shadow = _shadow()
    _write(shadow, 0, 100)
    seen = shadow.expected(0, SECTOR)
    _write(shadow, 300, 50)
    _write(shadow, 20, 30)
    found = _only(shadow, seen)
    assert found.damage is Damage.STALE
    assert found.fit is not None and found.fit.how is How.BEFORE
    assert found.fit.change.number == 2


def test_bytes_without_a_stamp_that_were_overwritten_are_old_and_not_changed_bytes() -> None:
    shadow = _shadow()
    first = Random(1).randbytes(300)
    other = bytes([*first[:10], first[10] ^ 0x5A, first[11] ^ 0x11, *first[12:]])
    shadow.write(7, first)
    seen = shadow.expected(0, SECTOR)
    shadow.write(7, other)
    found = _only(shadow, seen)
    assert found.damage is Damage.STALE
    assert found.part == (17, 19)
    assert str(found.seen) == "write #1"
    assert "sector 0 is exactly what it would be without write #2" in found.evidence[-1]


def test_a_change_that_was_made_again_is_named() -> None:
    shadow = _shadow()
    first = _write(shadow, 0, 200)
    _write(shadow, 100, 50)
    _write(shadow, 300, 20)
    shadow.zero(0, 120)
    seen = bytearray(shadow.expected(0, SECTOR))
    seen[:200] = first
    found = _only(shadow, bytes(seen))
    assert found.fit is not None and found.fit.how is How.AGAIN
    assert found.fit.change.number == 1


def test_two_changes_in_the_wrong_order_are_named() -> None:
    shadow = _shadow()
    _write(shadow, 0, 200)
    second = _write(shadow, 100, 200)
    _write(shadow, 150, 200)
    seen = bytearray(shadow.expected(0, SECTOR))
    seen[150:300] = second[50:]
    found = _only(shadow, bytes(seen))
    assert found.fit is not None and found.fit.how is How.ORDER
    assert (found.fit.change.number, found.fit.seen and found.fit.seen.number) == (3, 2)


def test_what_was_there_before_a_change_of_a_part_is_not_kept() -> None:
    shadow = _shadow()
    middle = _write(shadow, 100, 200)
    seen = bytes(100) + middle + bytes(SECTOR - 300)
    found = _only(shadow, seen)
    assert found.damage is Damage.ZEROED
    assert found.fit is not None and found.fit.how is How.NOT_KEPT


@pytest.mark.parametrize("is_zero", [True, False])
def test_a_change_of_a_clone_that_reached_the_snapshot_is_named(is_zero: bool) -> None:
    snapshot = _shadow()
    _write(snapshot, 10, 400)
    clone = snapshot.copy(CLONE)
    snapshot.history.volume, clone.history.volume = "snapshot s of disk", "clone c of snapshot s"
    snapshot.history.relatives = lambda: [snapshot.history, clone.history]
    _write(clone, 300, 100)
    if is_zero:
        clone.zero(50, 100)
    seen = bytearray(snapshot.expected(0, SECTOR))
    part = slice(50, 150) if is_zero else slice(300, 400)
    seen[part] = clone.expected(0, SECTOR)[part]
    found = _only(snapshot, bytes(seen))
    assert found.damage is Damage.NEWER
    assert found.fit is not None and found.fit.how is How.OTHERS
    assert found.fit.volume == "clone c of snapshot s"
    assert found.fit.change.length == 100


def test_of_several_changes_of_others_the_one_that_explains_most_is_named() -> None:
    volume = _shadow()
    snapshot = volume.copy(CLONE)
    snapshot.history.volume, volume.history.volume = "snapshot s of disk", "disk"
    snapshot.history.relatives = lambda: [snapshot.history, volume.history]
    volume.zero(0, 1 << 20)
    volume.zero(0, SECTOR)
    (found,) = snapshot.check(0, bytes(8 * SECTOR))
    assert found.fit is not None and found.fit.change.length == 1 << 20


def test_zeroes_since_the_place_was_behind_the_end_blame_no_request() -> None:
    shadow = _shadow()
    old = shadow.expected(4096, SECTOR)
    shadow.zero(0, 8192)
    shadow.resize(2048)
    shadow.resize(1 << 20)
    (found,) = shadow.check(4096, old)
    assert found.culprit is None


def test_a_tear_at_a_place_where_no_request_ends_stays_a_tear() -> None:
    shadow = _shadow()
    old = shadow.expected(0, SECTOR)
    new = _write(shadow, 0, SECTOR)
    found = _only(shadow, new[:200] + old[200:])
    assert (found.damage, found.fit) == (Damage.TORN, None)


def test_bytes_that_no_request_wrote_have_no_explanation() -> None:
    shadow = _shadow()
    _write(shadow, 3, 400)
    seen = bytearray(shadow.expected(0, SECTOR))
    seen[40:44] = b"\x01\x02\x03\x04"
    assert _only(shadow, bytes(seen)).fit is None


def test_a_sector_of_a_write_whose_data_is_too_long_to_keep_has_no_explanation() -> None:
    shadow = _shadow()
    shadow.write(1, Random(1).randbytes(1 << 17))
    shadow.write(70000, Random(2).randbytes(10))
    expected = shadow.expected(69632, SECTOR)
    (found,) = shadow.check(69632, bytes([expected[0] ^ 1, expected[1] ^ 3, *expected[2:]]))
    assert found.fit is None
