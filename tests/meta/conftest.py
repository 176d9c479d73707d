"""The fixture of toy suites."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.meta.toys import Toy, make_toy


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Toy]:
    temporary = Path(tempfile.mkdtemp(prefix="qt", dir="/tmp"))
    yield make_toy(tmp_path, temporary)
    remove(temporary)


def remove(directory: Path) -> None:
    """Remove a directory while the guard of a run that was killed removes its scratch there."""
    deadline_s = time.monotonic() + 60
    while directory.exists():
        try:
            shutil.rmtree(directory)
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)
