"""The clock of the mutants."""

from __future__ import annotations

import time

import pytest

from mutants import clock as clocks
from tests.mutants.conftest import Clock


def test_a_test_moves_the_clock(clock: Clock) -> None:
    before_s = clocks.now_s()
    assert clocks.now_s() == before_s
    clock.advance(1.5)
    assert clocks.now_s() == before_s + 1.5


def test_without_a_test_it_is_the_real_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(clocks.VARIABLE)
    before_s = time.monotonic()
    assert before_s <= clocks.now_s() <= time.monotonic()
