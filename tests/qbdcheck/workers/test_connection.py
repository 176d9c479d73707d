"""What prevents a connection is one line that says how to fix it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qbdcheck.errors import SetupError
from qbdcheck.workers import connection


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SetupError, match=r"pip install distributed"):
        connection.connect("local:1", tmp_path).__enter__()


def test_a_scheduler_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="the optional package distributed is missing")
    monkeypatch.setattr(connection, "_CONNECT_S", 1)
    with pytest.raises(SetupError, match=r"--cluster tcp://127.0.0.1:1: cannot reach a scheduler"):
        connection.connect("tcp://127.0.0.1:1", tmp_path).__enter__()
