"""What werror and rerror are to do; case 557 holds QEMU to it."""

import pytest

from qbdcheck.kit.error_policies import ERRORS, POLICIES, action_of


def test_policies_are_as_qemu_has_them() -> None:
    told = {policy: [action_of(policy, error) for error in ERRORS] for policy in POLICIES}
    assert told == {
        "report": ["report"] * 4,
        "ignore": ["ignore"] * 4,
        "stop": ["stop"] * 4,
        "enospc": ["report", "stop", "report", "report"],
    }


@pytest.mark.parametrize("error", ERRORS)
def test_only_enospc_depends_on_the_error(error: str) -> None:
    assert (action_of("enospc", error) == "stop") == (error == "ENOSPC")
