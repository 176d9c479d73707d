"""The expected effect of werror and rerror; case 557 checks QEMU against it."""

import pytest

from qbdcheck.kit.error_policies import ERRORS, POLICIES, action_of


def test_policies_agree_with_qemu() -> None:
    actions = {policy: [action_of(policy, error) for error in ERRORS] for policy in POLICIES}
    assert actions == {
        "report": ["report"] * 4,
        "ignore": ["ignore"] * 4,
        "stop": ["stop"] * 4,
        "enospc": ["report", "stop", "report", "report"],
    }


@pytest.mark.parametrize("error", ERRORS)
def test_only_enospc_depends_on_the_error(error: str) -> None:
    assert (action_of("enospc", error) == "stop") == (error == "ENOSPC")
