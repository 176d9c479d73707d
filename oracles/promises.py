"""What no document promises about the contents of a disk, and the policy that does.

The names of the policies are those of qbdcheck/catalogue/policies.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from oracles.damage import Operation

DISCARD = "discard-old-or-zero"
FAILED_WRITE = "failed-write-old-or-new"
_POLICIES = {
    "discard": DISCARD,
    "write (outcome unknown)": FAILED_WRITE,
}
"""Words of requests after which no document says what a range reads as, and the policy for it."""


def policy_after(last: Sequence[Operation], offset: int, length: int) -> str:
    """Return the policy that says what a range must read as; "" if a document says it.

    :param last: the requests that touched the range, the last one first.
    """
    if not last or last[0].text not in _POLICIES:
        return ""
    covers = last[0].offset <= offset and offset + length <= last[0].offset + last[0].length
    return _POLICIES[last[0].text] if covers else ""
