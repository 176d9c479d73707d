"""The policies that a basis may name."""

from __future__ import annotations

import re

import pytest

from qbdcheck.catalogue.policies import POLICIES


@pytest.mark.parametrize("name", POLICIES)
def test_each_policy_has_a_name_a_demand_and_a_reason(name: str) -> None:
    policy = POLICIES[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name)
    assert policy.sentence.endswith(".")
    assert policy.reason.endswith(".")
