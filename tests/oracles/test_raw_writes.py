"""Old contents of a place are called old, also if they are copies, or say nothing at all."""

from __future__ import annotations

from random import Random

from oracles.damage import Damage
from oracles.shadow import Shadow

PAGE = 4096


def _shadow() -> Shadow:
    shadow = Shadow(1 << 20)
    shadow.prefill()
    return shadow


def test_an_overwritten_copy_of_a_stamp_is_old_and_not_misdirected() -> None:
    shadow = _shadow()
    data = shadow.stamped(PAGE, PAGE)
    shadow.write(PAGE, data)
    shadow.write(0, data)
    shadow.zero(0, PAGE)
    (found,) = shadow.check(0, data)
    assert found.damage is Damage.STALE
    assert found.text == "stale (write #2 still there, expected zeroes)"


def test_overwritten_bytes_without_meaning_are_old_and_not_unknown() -> None:
    shadow = _shadow()
    data = Random(1).randbytes(PAGE)
    shadow.write(0, data)
    shadow.write(0, shadow.stamped(0, PAGE))
    (found,) = shadow.check(1024, data[1024:2048])
    assert found.damage is Damage.STALE


def test_a_stamp_at_a_place_that_never_held_it_is_misdirected() -> None:
    shadow = _shadow()
    data = shadow.stamped(PAGE, PAGE)
    shadow.write(PAGE, data)
    shadow.write(2 * PAGE, data)
    (found,) = shadow.check(0, data)
    assert found.damage is Damage.MISDIRECTED


def test_a_copy_that_is_there_is_right_and_one_that_is_lost_is_lost() -> None:
    shadow = _shadow()
    data = shadow.stamped(PAGE, PAGE)
    shadow.write(PAGE, data)
    shadow.write(0, data)
    assert not shadow.check(0, data)
    (found,) = shadow.check(0, bytes(PAGE))
    assert found.damage is Damage.ZEROED


def test_copies_of_a_shadow_know_what_was_there() -> None:
    shadow = _shadow()
    data = Random(2).randbytes(PAGE)
    shadow.write(0, data)
    clone = shadow.copy(writer=7)
    clone.zero(0, PAGE)
    (found,) = clone.check(0, data)
    assert found.damage is Damage.STALE
