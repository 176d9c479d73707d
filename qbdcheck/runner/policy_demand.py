"""A part of a case that rests on a policy alone; a profile that waives it drops only this part."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator

from qbdcheck.catalogue.basis import POLICY
from qbdcheck.catalogue.policies import POLICIES
from qbdcheck.runner.verdict_rules import describe


@contextlib.contextmanager
def resting_on(waived: Collection[str], note: Callable[[str], object], name: str) -> Iterator[None]:
    """Give each failed assertion of the block the policy ``name`` as its basis.

    If the policy is waived, the block ends at the assertion, and the case continues after it.

    :param waived: the policies that the target's profile waives.
    :param note: gets the name of a waived policy and what failed.
    :raise KeyError: there is no such policy.
    """
    policy = POLICIES[name].name
    try:
        yield
    except AssertionError as error:
        if policy not in waived:
            error.__dict__["basis"] = (f"{POLICY}: {policy}",)
            raise
        note(f"{policy}: {describe(error)}")
