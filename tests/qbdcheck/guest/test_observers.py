"""Observers of a guest: a tool that is not there is reported, and fails no case."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qbdcheck.guest.observers import Observers


def test_a_tool_that_is_not_installed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    guest: Any = SimpleNamespace(
        machine=SimpleNamespace(pid=os.getpid()), disks=[], name="guest0", is_running=True
    )
    observers = Observers(guest, ("perf",), tmp_path, tmp_path / "results")
    observers.start()
    lines = observers.stop()
    assert (
        "guest0 perf: not collected: perf: no such program; install it or put it on PATH" in lines
    )
