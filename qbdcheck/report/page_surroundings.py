"""What a damaged write had beside it: requests in flight, and right writes that are like it."""

from __future__ import annotations

from oracles.damage import Damage
from oracles.finding import Finding
from oracles.life import IN_FLIGHT, Moment

_MANY = 20
"""Right writes that are like a damaged one: fewer prove little."""


def range_of(length: int, offset: int) -> str:
    """Return a length and an offset as the end of the name of a request."""
    return f"of {length} byte{'s' if length != 1 else ''} at offset {offset}"


def in_flight(finding: Finding, write: Moment) -> str:
    """Return which requests to the place were in flight with a change, as a part of a sentence."""
    if not write.text.endswith(IN_FLIGHT):
        return ""
    others = [one for one in finding.last_writes
              if one.text.endswith(IN_FLIGHT) and one.number != write.number]  # fmt: skip
    if not others:
        return " while other requests to the same place were in flight"
    one = others[0]
    name = f"{one.text.removesuffix(IN_FLIGHT)} #{one.number} {range_of(one.length, one.offset)}"
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f" while {name}{more} {'were' if more else 'was'} in flight"


def alike(finding: Finding, write: Moment) -> str:
    """Return how many writes of the same length are right, as the rest of a sentence.

    Then length and alignment are not what matters. Without other events, the data is.
    """
    same = [
        one
        for one in finding.right_writes
        if one.length == write.length and (one.offset - write.offset) % write.length == 0
    ]
    if (
        write.kind != "write"
        or finding.damage is not Damage.ZEROED
        or len(same) < _MANY
        or finding.part is not None
    ):
        return ""
    return (
        f"; {len(same)} other writes of {write.length} bytes are right, so what matters may be"
        " its data"
    )
