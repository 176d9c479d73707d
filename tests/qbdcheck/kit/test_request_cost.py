"""Offsets spread over a volume, and growth is judged by a factor."""

from __future__ import annotations

import pytest

from qbdcheck.kit.request_cost import must_not_grow, places
from qbdcheck.machine_speed import Load, Machine, StarvedError

BUSY = Load(1.0, 5.0, 1.0, 0.0, 0.0, 0.0, 0.0, 9.0, 2, 0.5, False)
IDLE = Load(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2, 0.0, False)


def test_offsets_are_spread_and_aligned() -> None:
    found = places(1 << 30, 240)
    assert len(found) == 240 and not any(offset % 4096 for offset in found)
    assert found[-1] + 4096 <= 1 << 30 and found[-1] > (1 << 30) * 0.9
    assert places(8192, 240) == [0, 4096]


@pytest.mark.parametrize(
    ("many", "load", "error"),
    [
        (99.0, IDLE, None),
        (101.0, IDLE, AssertionError),
        (101.0, BUSY, StarvedError),
        (300.0, BUSY, AssertionError),
    ],
)
def test_growth_is_judged_and_starvation_explains_little(
    monkeypatch: pytest.MonkeyPatch, many: float, load: Load, error: type[Exception] | None
) -> None:
    monkeypatch.setattr(Machine, "recent", lambda *_: load)
    if error is None:
        must_not_grow(10.0, many, 10, "read")
        return
    with pytest.raises(error, match=r"read: 10\.0 us of CPU time per request at first"):
        must_not_grow(10.0, many, 10, "read")
