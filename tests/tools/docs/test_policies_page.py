"""docs/policies.md, the list of policies."""

from __future__ import annotations

from qbdcheck.catalogue.policies import POLICIES
from tools.docs.policies_page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "docs/policies.md is out of date: run tools/docs/policies_page.py"
    )


def test_the_page_has_each_policy_with_its_reason_and_a_case() -> None:
    rows = {line.split("`")[1]: line for line in page().splitlines() if line.startswith("| `")}
    assert list(rows) == list(POLICIES)
    for name, policy in POLICIES.items():
        assert policy.sentence in rows[name]
        assert policy.reason in rows[name]
    assert " 037 " in rows["discard-old-or-zero"]
