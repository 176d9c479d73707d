"""A program in a ``with`` block is closed after success and abandoned after an exception."""

from __future__ import annotations

import pytest

from qbdcheck.programs.closing import CloseOrAbandon


class _Recorder(CloseOrAbandon):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def close(self) -> None:
        self.calls.append("close")

    def abandon(self) -> None:
        self.calls.append("abandon")


def test_program_is_closed_at_the_end() -> None:
    with _Recorder() as program:
        assert program.calls == []
    assert program.calls == ["close"]


def test_program_is_abandoned_after_an_exception() -> None:
    program = _Recorder()
    with pytest.raises(KeyError), program:
        raise KeyError
    assert program.calls == ["abandon"]
