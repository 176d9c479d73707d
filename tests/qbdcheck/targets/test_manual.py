"""The manual of targets lists each key of a profile."""

from __future__ import annotations

import pytest

from qbdcheck.files import ROOT
from qbdcheck.targets.description import Description

MANUAL = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", [key for key in Description.model_fields if key != "volume"])
def test_manual_has_each_key(key: str) -> None:
    assert f"`{key}`" in MANUAL
