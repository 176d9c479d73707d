"""Fixtures: sessions on real targets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.mutant_target import profile
from qbdcheck.targets.session import TargetSession

Opener = Callable[..., TargetSession]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory whose path is short enough for sockets. It must be empty at the end."""
    with tempfile.TemporaryDirectory(prefix="q") as path:
        yield Path(path)


@pytest.fixture
def open_target(scratch: Path) -> Iterator[Opener]:
    """A function that opens a session on a shipped target, ``mutant:ID``, or a profile's text."""
    sessions: list[TargetSession] = []

    def open_one(
        target: str,
        image_format: str = "raw",
        *,
        capabilities: Collection[str] = (),
        **options: Any,
    ) -> TargetSession:
        if "\n" in target:
            file = scratch / "profile.yaml"
            file.write_text(target)
            chosen = descriptions.load(file)
        else:
            chosen = profile(target, ROOT / "targets")
        session = TargetSession(
            chosen,
            TargetOptions(**options),
            scratch,
            image_format=image_format,
            capabilities=capabilities,
        )
        sessions.append(session)
        return session

    yield open_one
    for session in sessions:
        session.close()
    assert not list(scratch.glob("*.volume"))
