"""Facts that all findings of some failures share: bytes, ends, connections, writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from blockio.sizes import format_size
from oracles.damage import Damage
from oracles.finding import SECTOR, Finding
from oracles.linearizability import STALE

_LOST = (Damage.NEVER_WRITTEN, Damage.LOST, Damage.STALE)
_LEAST_ENDS = 3
_LEAST_UNIT = 8192
"""Bytes. Ends at multiples of less are usual."""
_LEAST_PLACES = 8
_WINDOW_UNIT, _WINDOW_MAX = 64 << 10, 2 << 20
"""Bytes: what a window of places is rounded to, and its largest size."""


def shared_facts(findings: Sequence[Finding]) -> list[str]:
    """Return what all these findings have in common, one clause for each fact."""
    facts = (
        _byte(findings),
        _window(findings),
        _ends(findings),
        _connections(findings),
        _writes(findings),
    )
    return [fact for fact in facts if fact]


def _byte(findings: Sequence[Finding]) -> str:
    """Return the byte of the sector at which all torn or changed sectors have their border."""
    parts = [one.part for one in findings if one.part is not None]
    kinds = (Damage.TORN, Damage.ALTERED, Damage.BIT_FLIP)
    if len(parts) < 2 or len(parts) < len(findings) or any(f.damage not in kinds for f in findings):
        return ""
    borders = [{at for at in part if 0 < at < SECTOR} for part in parts]
    common = set.intersection(*borders)
    return f"always at byte {min(common)} of the sector" if len(common) == 1 else ""


def _window(findings: Sequence[Finding]) -> str:
    """Return the part of the volume that has all damage, if that is small and not its start."""
    places = {one.offset for one in findings}
    if any(not one.length for one in findings) or len(places) < _LEAST_PLACES:
        return ""
    first = min(places) // _WINDOW_UNIT * _WINDOW_UNIT
    last = max(one.offset + one.length for one in findings)
    end = -(-last // _WINDOW_UNIT) * _WINDOW_UNIT
    if not first or end - first > _WINDOW_MAX:
        return ""
    return f"all of it between {format_size(first)} and {format_size(end)}"


def _ends(findings: Sequence[Finding]) -> str:
    """Return the unit at whose multiples all lost data ends, if it does not begin there too."""
    kinds = (*_LOST, Damage.ZEROED)
    if any(one.damage not in kinds or not one.length for one in findings):
        return ""
    ends = {one.offset + one.length for one in findings}
    unit = math.gcd(*ends) & -math.gcd(*ends)
    begins = math.gcd(*(one.offset for one in findings))
    is_usual = unit < _LEAST_UNIT or begins == 0 or 4 * (begins & -begins) > unit
    if len(ends) < _LEAST_ENDS or is_usual:
        return ""
    return f"always up to a multiple of {unit >> 10} KiB"


def _connections(findings: Sequence[Finding]) -> str:
    """Return whether the stale reads were all on another connection than the newer write."""
    pairs = [pair for one in findings if one.damage is Damage.NOT_LINEARIZABLE
             for pair in _stale(one)]  # fmt: skip
    if len(pairs) < 2 or len(pairs) < len(findings):
        return ""
    if all(read != write for read, write in pairs):
        return "only across connections"
    return "only on one connection" if all(read == write for read, write in pairs) else ""


def _stale(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield the connections of a stale read and of the newer write."""
    reads = [one for one in finding.life if one.kind == "read" and one.text.endswith(STALE)]
    for read in reads[:1]:
        newer = [one for one in finding.life if one.kind == "write" and one.number != read.number]
        if newer:
            yield read.lane, newer[-1].lane


def _writes(findings: Sequence[Finding]) -> str:
    """Return how many writes are lost, and how long they are."""
    if any(one.damage not in _LOST for one in findings):
        return ""
    writes = {
        (write.number, write.offset, write.length)
        for one in findings
        for write in one.last_writes[:1]
        if write.text == "write"
    }
    lengths = sorted(length for _, _, length in writes)
    if len(writes) < 2:
        return ""
    sizes = f"{lengths[0]} to {lengths[-1]}" if lengths[0] != lengths[-1] else f"{lengths[0]}"
    return f"{len(writes)} writes lost, {sizes} bytes"
