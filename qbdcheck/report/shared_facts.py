"""Facts that all findings of some failures share: bytes, requests, connections, power cuts.

Each fact says of how many findings or requests it holds, or holds for all of them. A fact that one
finding contradicts is not told, and neither is one that too few findings support.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from blockio.sizes import exact_size
from oracles.damage import Damage, error
from oracles.finding import DISCARDED, SECTOR, Finding
from oracles.life import CHANGES, MAKES_DURABLE, ends_before_read, reads_that_returned
from oracles.linearizability import STALE
from qbdcheck.report.conditions import Condition
from qbdcheck.report.page_damage import is_wrong_read
from qbdcheck.report.page_reply import reply_facts

_LOST = (Damage.NEVER_WRITTEN, Damage.LOST, Damage.STALE)
NOT_THERE = frozenset((*_LOST, Damage.ZEROED))
"""Kinds that say that what was written last is not there."""
_PARTLY = (Damage.TORN, Damage.ALTERED, Damage.BIT_FLIP)
_LEAST_ENDS = 3
_LEAST_UNIT = 8192
"""Bytes. Ends at multiples of less are usual."""
_LEAST_PARTS = 3
_LEAST_PLACES = 8
_LEAST_BESIDE = 3
"""Right writes on both sides of a window of places."""
_LEAST_PAIRS = 4
"""Stale reads that a fact about connections needs."""
_LEAST_CUTS = 3
_BY_CHANCE = 2
"""Bytes at a border that may be equal on both sides of it."""
_WINDOW_UNIT, _WINDOW_MAX = 64 << 10, 2 << 20
"""Bytes: what a window of places is rounded to, and its largest size."""
_SAME_CONNECTION = "read again over the same connection"
_IS_RIGHT = "the data is right"


def shared_facts(
    failures: Sequence[Sequence[Finding]], condition: Condition | None = None
) -> list[str]:
    """Return what the findings of failures have in common, one clause for each fact.

    :param failures: the findings of each failed case.
    :param condition: what the damaged writes share, if that is known: it says where they are.
    """
    findings = [one for failure in failures for one in failure if not _is_unexamined(one)]
    placed = (_window(findings), _ends(findings), _writes(findings))
    facts = (
        _byte(findings),
        *((str(condition),) if condition else placed),
        *_stale_reads(findings),
        _cuts(findings),
        *_flushes(findings),
        _ended(findings),
        _discards(findings),
        *_replies(findings),
    )
    return [fact for fact in facts if fact]


def _replies(findings: Sequence[Finding]) -> list[str]:
    """Return what replies that broke the protocol have in common, if nothing else is wrong."""
    broken = [(one.text, one.evidence) for one in findings if one.damage is Damage.PROTOCOL]
    return reply_facts(broken) if len(broken) == len(findings) else []


def _is_unexamined(finding: Finding) -> bool:
    """Return whether it is only known that a place is wrong."""
    return finding.damage is Damage.UNKNOWN and finding.seen is None and bool(finding.count)


def _byte(findings: Sequence[Finding]) -> str:
    """Return the byte of the sector at which all torn or changed sectors have their border."""
    parts = [one.part for one in findings if one.part is not None]
    if len(parts) < _LEAST_PARTS or len(parts) < len(findings):
        return ""
    if any(one.damage not in _PARTLY for one in findings):
        return ""
    borders = [{at for at in part if 0 < at < SECTOR} for part in parts]
    counts = Counter(at for one in borders for at in one)
    byte = max(counts, key=lambda at: (counts[at], -at), default=0)
    near = set(range(byte - _BY_CHANCE, byte + _BY_CHANCE + 1))
    if not byte or not all(near & one for one in borders):
        return ""
    is_certain = len(parts) - counts[byte] <= len(parts) // 4
    return f"always at byte {byte} of the sector" if is_certain else ""


def _window(findings: Sequence[Finding]) -> str:
    """Return the part of the volume that has all damage, if writes on both sides are right."""
    places = {one.offset for one in findings}
    if any(not one.length for one in findings) or len(places) < _LEAST_PLACES:
        return ""
    first = min(places) // _WINDOW_UNIT * _WINDOW_UNIT
    last = max(one.offset + one.length for one in findings)
    end = -(-last // _WINDOW_UNIT) * _WINDOW_UNIT
    right = [write for one in findings for write in one.right_writes]
    below = {write.offset for write in right if write.offset + write.length <= first}
    above = {write.offset for write in right if write.offset >= end}
    if end - first > _WINDOW_MAX or min(len(below), len(above)) < _LEAST_BESIDE:
        return ""
    return f"all of it between {exact_size(first)} and {exact_size(end)}"


def _ends(findings: Sequence[Finding]) -> str:
    """Return the unit at whose multiples all lost data ends, if it does not begin there too."""
    if any(one.damage not in NOT_THERE or not one.length for one in findings):
        return ""
    ends = {one.offset + one.length for one in findings}
    unit = math.gcd(*ends) & -math.gcd(*ends)
    begins = math.gcd(*(one.offset for one in findings))
    is_usual = unit < _LEAST_UNIT or begins == 0 or 4 * (begins & -begins) > unit
    if len(ends) < _LEAST_ENDS or is_usual:
        return ""
    return f"always up to a multiple of {exact_size(unit)}"


def _stale_reads(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield whether stale reads came from another connection than the write, and what came next."""
    pairs = set(filter(None, map(reader_and_writer, findings)))
    across = {pair for pair in pairs if pair[0] != pair[1]}
    if len(pairs) >= _LEAST_PAIRS and len(across) in (0, len(pairs)):
        is_other = "another connection than" if across else "the same connection as"
        yield f"the reader is {is_other} the last writer in all {len(pairs)} stale reads"
    later = {(pair, right) for one in findings
             if (right := _next_is_right(one)) is not None
             and (pair := reader_and_writer(one)) is not None}  # fmt: skip
    if len(later) >= _LEAST_PAIRS and all(right for _, right in later):
        yield f"the next read by the same connection was right ({len(later)} of {len(later)})"


def reads_alike(findings: Sequence[Finding], others: Sequence[Sequence[Finding]]) -> bool:
    """Return whether a failure has stale reads of which the same facts hold as of those of others.

    :param others: the findings of the other failures.
    """
    if not any(map(reader_and_writer, findings)):
        return False
    known = [one for failure in others for one in failure]
    facts = list(_stale_reads(known))
    again = list(_stale_reads([*known, *findings]))
    return bool(facts) and len(facts) == len(again)


def reader_and_writer(finding: Finding) -> tuple[str, str, float | None, int] | None:
    """Return the connections of a stale read and of the newest write, and what tells the read."""
    read = _stale_read(finding)
    if read is None:
        return None
    life, culprit = finding.life, finding.culprit
    changes = [one for one in life if one.kind in CHANGES and one.kind != "prefill"]
    if finding.damage is Damage.NOT_LINEARIZABLE:
        changes = [one for one in changes if one.number != life[read].number]
    elif culprit is not None:  # a discard may come after what had to be read
        changes = [life[culprit.change]]
    if not changes or not changes[-1].lane or not life[read].lane:
        return None
    return life[read].lane, changes[-1].lane, life[read].at_s, changes[-1].number


def _stale_read(finding: Finding) -> int | None:
    """Return the place in its life of the read that returned older data than is stored."""
    reads = [at for at, one in enumerate(finding.life) if one.kind == "read"]
    if finding.damage is Damage.NOT_LINEARIZABLE:
        return next((at for at in reads if finding.life[at].text.endswith(STALE)), None)
    is_older = finding.damage in (*_LOST, Damage.ZEROED) and is_wrong_read(finding)
    return reads[-1] if reads and is_older else None


def _next_is_right(finding: Finding) -> bool | None:
    """Return whether the next read by the same connection was right; None if there was none."""
    again = [line for line in finding.evidence if line.startswith(_SAME_CONNECTION)]
    if again:
        return _IS_RIGHT in again[0]
    read = _stale_read(finding)
    if read is None or finding.damage is not Damage.NOT_LINEARIZABLE:
        return None
    stale = finding.life[read]
    later = [one for one in finding.life[read + 1 :] if one.kind == "read"]
    mine = [one for one in later if one.lane == stale.lane]
    return mine[0].number != stale.number if mine else None


def _cuts(findings: Sequence[Finding]) -> str:
    """Return whether a power cut came before all damage, and if the requests were flushed."""
    found = [state for one in findings if (state := _state_at_cut(one)) is not None]
    if len(found) < _LEAST_CUTS or "" in found or len(set(found)) != 1:
        return ""
    return (
        f"only after a power cut, of requests that were {found[0]} ({len(found)} of {len(found)})"
    )


def _flushes(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield how many flushed changes a power cut took, and whether a flush hid an error."""
    known = [one for one in findings if one.culprit is not None]
    if any(not one.damage.rank and one.damage not in NOT_THERE for one in findings):
        return
    if not all(any(moment.kind == "cut" for moment in one.life) for one in known):
        return  # they were not there before the power cut either
    gone = [one for one in known if one.culprit and one.life[one.culprit.place].kind == "flush"]
    if len(gone) >= _LEAST_CUTS:
        yield f"{len(gone)} changes that were acknowledged and flushed are gone after a power cut"
    hidden = [one for one in findings if "FLUSH" in one.text and one.damage is Damage.ERROR
              and one.seen == error(0)]  # fmt: skip
    if gone and hidden:
        yield "a FLUSH that had to fail succeeded"


def _ended(findings: Sequence[Finding]) -> str:
    """Return what ended before all changes were gone: their connections, or the server.

    Most changes are first read after their connection was closed, whatever lost them. So one of
    them must have been read, and right, before that.
    """
    kinds = [_kinds_of_ends(one) for one in findings]
    if len(kinds) < _LEAST_CUTS or not any("read" in one for one in kinds):
        return ""
    count = f"({len(kinds)} of {len(kinds)})"
    if all("restart" in one for one in kinds):
        return f"only after the server was stopped in its normal way {count}"
    if all("close" in one for one in kinds):
        return f"only after the connection of the write was closed {count}"
    return ""


def _kinds_of_ends(finding: Finding) -> set[str]:
    """Return the kinds of what ended before a change was gone, and ``read`` if it was read before.

    The set is empty if another connection than that of the change was closed, or a power cut came.
    """
    culprit, life = finding.culprit, finding.life
    if culprit is None or finding.damage not in NOT_THERE or is_wrong_read(finding):
        return set()
    lost = culprit.change
    if any(moment.kind == "cut" for moment in life[lost:]):
        return set()
    ends = ends_before_read(life, lost)
    kinds = {one.kind for one in ends if one.kind == "restart" or one.lane == life[lost].lane}
    return kinds | {"read"} if kinds and reads_that_returned(life, lost) else kinds


def _state_at_cut(finding: Finding) -> str | None:
    """Return the state of the damaged request at the power cut; "" without a cut, None: unknown."""
    culprit = finding.culprit
    if culprit is None or finding.damage is not Damage.TORN:
        return None
    at = culprit.change
    write, after = finding.life[at], finding.life[at + 1 :]
    kinds = [one.kind for one in after]
    if "cut" not in kinds:
        return ""
    if write.fua or set(MAKES_DURABLE) & set(kinds[: kinds.index("cut")]):
        return "flushed"
    return "not flushed"


def _discards(findings: Sequence[Finding]) -> str:
    """Return how many zeroed places lie directly beside a later discard, if most do."""
    sides = [
        line.removeprefix(DISCARDED).split()[0]
        for one in findings
        for line in one.evidence
        if line.startswith(DISCARDED)
    ]
    places = [one for one in findings if not one.damage.rank]
    if len(sides) < max(len(places) / 2, 2) or len(places) < len(findings):
        return ""
    side = sides[0] if len(set(sides)) == 1 else "beside"
    return f"{len(sides)} of {len(places)} places lie directly {side} a discard that came later"


def _writes(findings: Sequence[Finding]) -> str:
    """Return how many writes are lost, and how long they are."""
    if any(one.damage not in _LOST for one in findings):
        return ""
    blamed = [
        one.fit.change if one.fit is not None and one.fit.is_lost else write
        for one in findings
        for write in one.last_writes[:1]
        if write.text != "prefill"
    ]
    if any(one.text.removesuffix(" (FUA)") != "write" for one in blamed):
        return ""
    writes = {(one.number, one.offset, one.length) for one in blamed}
    lengths = sorted(length for _, _, length in writes)
    if len(writes) < 2:
        return ""
    sizes = f"{lengths[0]} to {lengths[-1]}" if lengths[0] != lengths[-1] else f"{lengths[0]}"
    return f"{len(writes)} writes lost, {sizes} bytes"
