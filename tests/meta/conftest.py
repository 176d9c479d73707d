"""The fixture of toy suites."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.meta.toys import Toy, make_toy


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Toy]:
    temporary = Path(tempfile.mkdtemp(prefix="qt", dir="/tmp"))
    yield make_toy(tmp_path, temporary)
    shutil.rmtree(temporary)
