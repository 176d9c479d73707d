"""Replies that are too short."""

from __future__ import annotations

import pytest

from injectors.short_reply import ShortReply
from tests.injectors.conftest import Stack, on_wire

RAW = bytes(range(100))


@pytest.mark.parametrize(("missing", "sent"), [(1, 99), (60, 40), (100, 0), (999, 0)])
def test_the_end_is_missing_and_the_connection_stays_open(
    faulty: type[Stack], missing: int, sent: int
) -> None:
    stack = faulty(f"{{event: read_aio, action: short, missing: {missing}}}")
    assert on_wire(stack.read(), RAW) == (RAW[:sent], True)


def test_the_missing_part_is_drawn_and_never_empty(faulty: type[Stack]) -> None:
    for seed in range(20):
        raw, lives = on_wire(faulty("{event: read_aio, action: short}", seed=seed).read(), RAW)
        assert lives
        assert raw == RAW[: len(raw)]
        assert len(raw) < 100


def test_missing_0_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ShortReply(missing=0)
