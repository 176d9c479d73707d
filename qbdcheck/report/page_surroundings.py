"""What a damaged write had beside it: requests in flight, and right writes that are like it."""

from __future__ import annotations

from collections.abc import Sequence

from oracles.damage import Damage
from oracles.finding import Finding
from oracles.life import IN_FLIGHT, KILLED, Moment

_CHANGES = ("write", "zero", "discard", "resize", "snapshot", "cut", "restart")
"""Kinds of events that change a block status, or what a server remembers of it."""
_NAMES = {"zero": "write zeroes", "cut": "a power cut", "restart": "a restart of the server"}
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


def flushed(flush: Moment, write: Moment) -> str:
    """Return that a flush followed a change, as the rest of a sentence; or why none was needed."""
    if flush.kind == "durable":
        return f" {flush.text}"
    return " and flushed" if write.is_certain else ", and a flush followed it"


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


def status_story(finding: Finding) -> list[str]:
    """Return what came before a wrong block status of a range, as sentences.

    That is the last change of the range, whether a flush came after it, and the last answer before
    it: a server that remembers an answer gives it again.
    """
    answers = [at for at, one in enumerate(finding.life) if one.kind == "status"]
    if finding.damage is not Damage.STATUS or not answers:
        return []
    life, last = finding.life, answers[-1]
    changes = [at for at, one in enumerate(life[:last]) if one.kind in _CHANGES]
    sentences = []
    if changes:
        changed = life[changes[-1]]
        flush = any(one.kind == "flush" for one in life[changes[-1] : last])
        since = "a flush came after it" if flush else "no flush came after it"
        sentences.append(f"The last change before this answer: {named(changed)}; {since}.")
    if len(answers) > 1:
        sentences.append(_answer_before(life, answers[-2], last, changes))
    return sentences


def _answer_before(life: Sequence[Moment], before: int, last: int, changes: Sequence[int]) -> str:
    one = life[before]
    who = f" on {one.lane}" if one.lane else ""
    is_same = one.text == life[last].text
    told = f"The answer before it{_at(one)}{who} said {'the same' if is_same else one.text}"
    between = [named(life[at]) for at in changes if at > before]
    if not between:
        return f"{told}; nothing changed the range between the two."
    more = f" and {len(between) - 1} other changes" if len(between) > 1 else ""
    follows = ", so it may have been remembered" if is_same else ""
    return f"{told}; {between[-1]}{more} came between the two{follows}."


def named(one: Moment) -> str:
    """Return an event with its place and time, such as ``write #7 of 512 bytes at ...``."""
    if one.kind in ("resize", "snapshot"):
        return f"{'a resize ' if one.kind == 'resize' else ''}{one.text}{_at(one)}"
    if one.kind == "cut" and one.text == KILLED:
        return f"a kill of the server{_at(one)}"
    name = _NAMES.get(one.kind, one.kind)
    if one.kind in ("cut", "restart"):
        return f"{name}{_at(one)}"
    number = f" #{one.number}" if one.number else ""
    fua = " with FUA" if one.fua else ""
    return f"{name}{number} {range_of(one.length, one.offset)}{fua}{_at(one)}"


def _at(one: Moment) -> str:
    return "" if one.at_s is None else f" at {one.at_s:.3f} s"
