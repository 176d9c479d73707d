"""What a finding says of the flush that did not keep a change."""

from __future__ import annotations

import pytest

from oracles.finding import Finding
from oracles.flush_story import kept_by_flush
from oracles.shadow import NotPermitted, Shadow
from oracles.stamps import SECTOR, Identity


@pytest.fixture
def shadow() -> Shadow:
    made = Shadow(64 * SECTOR, Identity(1, 2))
    made.prefill()
    return made


def _write(shadow: Shadow, sector: int) -> None:
    shadow.write(sector * SECTOR, shadow.stamped(sector * SECTOR, SECTOR))


def _after_cut(shadow: Shadow, lost: list[int], before: Shadow) -> Finding:
    """Return the first finding of a check that reads some sectors as they were before."""
    shadow.power_cut(1)
    data = bytearray(shadow.expected(0, shadow.size))
    for sector in lost:
        place = slice(sector * SECTOR, (sector + 1) * SECTOR)
        data[place] = before.expected(place.start, SECTOR)
    with pytest.raises(NotPermitted) as raised:
        shadow.settle(0, bytes(data))
    return raised.value.findings[0]


def test_the_flush_is_the_first_one_since_a_power_cut(shadow: Shadow) -> None:
    _write(shadow, 1)
    shadow.flush()
    shadow.power_cut(1)
    before = shadow.copy()
    _write(shadow, 5)
    _write(shadow, 7)
    shadow.flush()
    found = _after_cut(shadow, [5, 7], before)
    assert "the first one since the power cut, number 2 of all" in found.evidence[-1]
    assert "it covered 2 changes: 2 are damaged, so all of them" in found.evidence[-1]
    assert kept_by_flush(found) == (
        "did not make this write durable, nor any of the 2 changes since the flush before"
    )


def test_changes_of_an_earlier_flush_do_not_count(shadow: Shadow) -> None:
    _write(shadow, 1)
    shadow.flush()
    before = shadow.copy()
    for sector in (5, 7, 9):
        _write(shadow, sector)
    shadow.flush()
    found = _after_cut(shadow, [7], before)
    assert "the second one since the volume was made" in found.evidence[-1]
    assert found.evidence[-1].endswith(
        "it covered 3 changes: 1 damaged (#3), 2 are there whole; the last before it was #4, 512"
        " bytes at 4608"
    )
    assert kept_by_flush(found) == (
        "did not make this write durable; 2 other changes before it survived"
    )


def test_a_change_without_a_flush_has_no_such_line(shadow: Shadow) -> None:
    before = shadow.copy()
    shadow.write(5 * SECTOR, shadow.stamped(5 * SECTOR, SECTOR), fua=True)
    found = _after_cut(shadow, [5], before)
    assert not any("the flush that did not keep it" in one for one in found.evidence)


def test_a_change_behind_an_unfinished_one_does_not_stop_the_diagnosis(shadow: Shadow) -> None:
    _write(shadow, 5)
    shadow.flush()
    data = bytearray(shadow.expected(0, shadow.size))
    shadow.maybe_write(4 * SECTOR, shadow.stamped(4 * SECTOR, 4 * SECTOR))
    shadow.power_cut(1)
    data[5 * SECTOR : 6 * SECTOR] = bytes(SECTOR)
    with pytest.raises(NotPermitted) as raised:
        shadow.settle(0, bytes(data))
    assert raised.value.findings[0].evidence[-1].endswith("1 is damaged, so all of them")
    assert kept_by_flush(raised.value.findings[0]) == "did not make this write durable"


def test_a_lost_change_is_counted_though_a_later_one_covers_its_place(shadow: Shadow) -> None:
    _write(shadow, 3)
    shadow.flush()
    before = shadow.copy()
    for sector in (5, 9):
        _write(shadow, sector)
    shadow.flush()
    data = bytearray(before.expected(0, before.size))
    data[9 * SECTOR : 10 * SECTOR] = shadow.expected(9 * SECTOR, SECTOR)
    shadow.discard(5 * SECTOR, SECTOR)
    shadow.power_cut(1)
    with pytest.raises(NotPermitted) as raised:
        shadow.settle(0, bytes(data))
    assert "it covered 2 changes: 1 damaged (#" in raised.value.findings[0].evidence[-1]


def test_what_the_target_does_not_promise_is_not_diagnosed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Shadow(64 * SECTOR, Identity(1, 2), waived=frozenset({"discard-old-or-zero"}))
    made.prefill()
    made.flush()
    made.discard(5 * SECTOR, SECTOR)
    data = bytearray(made.size)
    for start, end in ((0, 5 * SECTOR), (6 * SECTOR, made.size)):
        data[start:end] = made.expected(start, end - start)
    data[5 * SECTOR : 6 * SECTOR] = b"\xff" * SECTOR
    monkeypatch.setattr(made.history, "contrasted", None)
    made.settle(0, bytes(data))
