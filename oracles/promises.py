"""What no document promises about the contents of a disk, and the policy that does.

The names of the policies are those of qbdcheck/catalogue/policies.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from oracles.damage import Operation

_POLICIES = {
    "discard": "discard-old-or-zero",
    "write (outcome unknown)": "failed-write-old-or-new",
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


def rest_on(places: NDArray[np.int64], last: Sequence[Operation], waived: Collection[str]) -> bool:
    """Return whether no document says what some bytes read as, and no policy that counts.

    A discard may end within a sector, and several may cover one range, so bytes are judged.

    :param places: the bytes, by their offsets in the volume, in order.
    :param last: the requests that touched their range, the last one first.
    :param waived: policies that do not count.
    """
    left = places
    for one in last:
        inside = (left >= one.offset) & (left < one.offset + one.length)
        text = "discard" if one.text.startswith("discard") else one.text
        if inside.any() and _POLICIES.get(text) not in waived:
            return False
        left = left[~inside]
        if not left.size:
            return True
    return False
