"""What came between the last right read of a place and the wrong one.

A place that was read right after its last change has lost nothing of that change then. What damaged
it came later: a request close to it, or one to it that failed.
"""

from __future__ import annotations

from collections.abc import Sequence

from oracles.life import CHANGES, DIFFERED, IN_FLIGHT, NOT_JUDGED, Moment

SINCE_RIGHT = "since it was last read right, "
"""Begins the evidence."""
_NEAR = 64 << 10
"""Bytes: caches and maps have such units."""
_OTHER_STORIES = ("cut", "restart", "snapshot", "resize")
"""What came between can have taken the data away: the life of the place shows it."""
_NAMED = 2


def suspects(moments: Sequence[Moment], offset: int, length: int) -> str:
    """Return what came since the last right read of a place, as a sentence; "" for nothing.

    :param moments: of the volume, in order; the wrong read of the place is the last one.
    :param offset: of the place, in bytes, as is ``length``.
    """
    reads = [
        at
        for at, one in enumerate(moments)
        if one.kind == "read" and one.touches(offset, length)
        and one.text not in (NOT_JUDGED, DIFFERED)
    ]  # fmt: skip
    if len(reads) < 2 or reads[-1] != len(moments) - 1:
        return ""  # the wrong read was not recorded, so the last recorded one was right
    between = moments[reads[-2] + 1 : reads[-1]]
    changed = any(one.kind in CHANGES and one.touches(offset, length) for one in between)
    if changed or any(one.kind in _OTHER_STORIES for one in between):
        return ""
    failed = [one for one in between if one.kind == "error" and one.touches(offset, length)]
    near = [one for one in between if one.kind in CHANGES and _is_near(one, offset, length)]
    told = []
    if near:
        names = [_named(one) for one in near[-_NAMED:]]
        more = f" and {len(near) - _NAMED} more" if len(near) > _NAMED else ""
        told.append(f"{' and '.join(names)}{more} came in the same 64 KiB")
    if failed:
        many = f" {len(failed)} times" if len(failed) > 1 else ""
        told.append(f"requests to it failed{many}, such as {failed[-1].text}")
    return f"{SINCE_RIGHT}{', and '.join(told)}" if told else ""


def _is_near(one: Moment, offset: int, length: int) -> bool:
    first, last = offset // _NEAR * _NEAR, -(-(offset + length) // _NEAR) * _NEAR
    return one.offset < last and first < one.offset + one.length


def _named(one: Moment) -> str:
    kind = {"zero": "write zeroes"}.get(one.kind, one.kind)
    flight = IN_FLIGHT if one.text.endswith(IN_FLIGHT) else ""
    number = f" #{one.number}" if one.number else ""
    return f"{kind}{number} of {one.length} bytes at offset {one.offset}{flight}"
