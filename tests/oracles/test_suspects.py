"""What came between a right and a wrong read of a place is named; its last change is innocent."""

from __future__ import annotations

import pytest

from oracles.damage import Damage
from oracles.life import DIFFERED, Moment
from oracles.shadow import Shadow
from oracles.suspects import SINCE_RIGHT, suspects

PLACE = 20480, 512
WRITE, READ = Moment("write", 5, 20480, 4096), Moment("read", 0, 0, 65536)
NEAR, FAR = Moment("write", 6, 4096, 100), Moment("write", 7, 1 << 20, 100)
FAILED = Moment("error", 0, 20480, 512, text="READ of 512 bytes at 20480: Input/output error (5)")


@pytest.mark.parametrize(
    ("moments", "told"),
    [
        ((WRITE, READ, NEAR, READ), "write #6 of 100 bytes at offset 4096 came in the same 64 KiB"),
        ((WRITE, READ, FAILED, FAILED, READ),
         f"requests to it failed 2 times, such as {FAILED.text}"),
        ((WRITE, NEAR, READ), ""),
        ((WRITE, READ, FAR, READ), ""),
        ((WRITE, READ, NEAR, READ, FAR), ""),
        ((WRITE, READ, NEAR, WRITE, READ), ""),
        ((WRITE, READ, NEAR, Moment("cut"), READ), ""),
        ((WRITE, Moment("read", 0, 0, 65536, text=DIFFERED), NEAR, READ), ""),
    ],
)  # fmt: skip
def test_what_came_since_the_last_right_read(moments: tuple[Moment, ...], told: str) -> None:
    assert suspects(moments, *PLACE) == (f"{SINCE_RIGHT}{told}" if told else "")


def test_a_change_that_was_read_right_is_not_accused() -> None:
    shadow = Shadow(1 << 20)
    old = shadow.prefill()[:65536].tobytes()
    shadow.zero(0, 65536)
    shadow.history.note("read", 0, 65536)
    shadow.write(0, shadow.stamped(0, 512))
    shadow.history.note("read", 0, 65536)
    seen = shadow.expected(0, 512) + old[512:]
    (found,) = shadow.check(0, seen)
    assert found.damage is Damage.NEVER_WRITTEN
    assert found.since_right.startswith(f"{SINCE_RIGHT}write #2 of 512 bytes at offset 0 came")
    assert found.culprit is None
