"""The manual of targets lists each policy and each key of a profile."""

from __future__ import annotations

import pytest

from qbdcheck.files import ROOT
from qbdcheck.targets.description import Description
from qbdcheck.targets.policies import POLICIES

MANUAL = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", POLICIES)
def test_manual_has_each_policy_with_its_reason(name: str) -> None:
    policy = POLICIES[name]
    assert f"| `{name}` | {policy.sentence} | {policy.reason} |" in MANUAL


@pytest.mark.parametrize("key", [key for key in Description.model_fields if key != "volume"])
def test_manual_has_each_key(key: str) -> None:
    assert f"`{key}`" in MANUAL
