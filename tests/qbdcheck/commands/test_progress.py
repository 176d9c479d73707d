"""What a command says if it takes long."""

from __future__ import annotations

import time

import pytest

from qbdcheck.commands.progress import Progress


def test_long_command_says_what_it_is_at(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("a test", every_s=0.05) as progress:
        progress.step = "the second step"
        time.sleep(1)
    lines = capsys.readouterr().err.splitlines()[1:]  # the first may be earlier
    assert lines
    assert {line.partition(" s, ")[2] for line in lines} == {"now: the second step"}


def test_quick_command_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("a test"):
        pass
    assert capsys.readouterr().err == ""
