"""Traits of failures: what each one says about the cause, and the title that several make.

A trait is a kind of property and its value, such as the request or the kind of damage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from oracles.damage import Damage
from qbdcheck.report import symptoms
from qbdcheck.report.symptoms import Symptoms

_TOLD = 5
"""Traits in the title of a cause."""
_PHRASES = {
    "at most 512 bytes": "places of at most 512 bytes",
    "at most 4 KiB": "places of at most 4 KiB",
    "at most 64 KiB": "places of at most 64 KiB",
    "at most 1 MiB": "places of at most 1 MiB",
    "over 1 MiB": "places of over 1 MiB",
    "aligned to 512": "at multiples of 512 bytes",
    "aligned to 4096": "at multiples of 4096 bytes",
    "unaligned": "at unaligned places",
}
"""Traits as the title of a cause says them."""
_LOST = "lost data"
_SAID = {
    Damage.LENGTH.value: "wrong length",
    Damage.SIZE.value: "wrong size",
    Damage.STATUS.value: "wrong block status",
    Damage.OTHER_WRITE.value: "the data of another write",
    "must fail": "wrong success",
}
_ENDED = frozenset(("ECONNRESET", "EPIPE", "ECONNABORTED"))
"""Error numbers that no server sends: the connection ended."""
_NO_ERROR, _CONNECTION_ENDED = "success", "end of the connection"
_MOVED = re.compile(r"([+-])(\d+) (bytes|sectors) away")

NOTHING = "failures whose texts have no request and no kind of damage in common"

Trait = tuple[str, str]
"""A kind of trait and its value: ``("command", "flush")``."""

_DAMAGES: Mapping[Damage, float] = {
    Damage.MISDIRECTED: 4.0,
    Damage.SWAPPED: 4.0,
    Damage.SHIFTED: 3.0,
    Damage.FOREIGN: 2.0,
    Damage.BIT_FLIP: 3.0,
    Damage.BEYOND_END: 3.0,
    Damage.CHANGING: 2.5,
    Damage.TRUNCATED: 2.5,
    Damage.SIZE: 2.5,
    Damage.LENGTH: 2.0,
    Damage.STATUS: 2.0,
    Damage.NEWER: 2.0,
    Damage.DIED: 6.0,
    Damage.HANG: 2.5,
    Damage.PROTOCOL: 1.6,
    Damage.NOT_READY: 2.0,
    Damage.ZEROED: 1.2,
    Damage.TORN: 1.0,
    Damage.STALE: 1.0,
    Damage.NEVER_WRITTEN: 1.0,
    Damage.LOST: 1.0,
    Damage.NOT_LINEARIZABLE: 0.9,
}
_CONTENTS = frozenset({
    Damage.ZEROED, Damage.STALE, Damage.NEWER, Damage.NEVER_WRITTEN, Damage.LOST,
    Damage.MISDIRECTED, Damage.SWAPPED, Damage.FOREIGN, Damage.TORN, Damage.ALTERED,
    Damage.SHIFTED, Damage.TRUNCATED, Damage.CHANGING, Damage.UNKNOWN,
})  # fmt: skip
"""Kinds that are said of data."""
_COMMANDS: Mapping[str, float] = {
    symptoms.ZEROES: 3.0,
    symptoms.DISCARD: 2.5,
    symptoms.FLUSH: 2.5,
    symptoms.STATUS: 2.0,
    "resize": 2.0,
    "snapshot": 2.0,
    "cache": 2.0,
    "handshake": 1.4,
    "lock": 1.4,
    symptoms.WRITE: 0.6,
    symptoms.READ: 0.5,
}
_KINDS: Mapping[str, float] = {
    "program": 6.5,
    "end": 1.4,
    "flag": 2.6,
    "errno": 1.7,
    "moved": 4.5,
    "expected": 1.5,
    "state": 1.3,
    "alignment": 0.4,
    "size": 0.3,
}
"""Weights of the other traits."""
_WEAK_ENDS = ("output differs", "pattern differs", "corrupt image", "must fail")
_OTHER = 0.3


def traits_of(shows: Symptoms) -> frozenset[Trait]:
    """Return the traits of a failure."""
    found: set[Trait] = {("damage", kind) for kind in shows.damage}
    found |= {("flag", flag) for flag in shows.flags}
    for kind in ("command", "size", "alignment", "state", "errno", "end", "program", "moved"):
        if value := getattr(shows, kind):
            found.add((kind, value))
    if shows.expected == "zeroes" and not {"zeroed"} & set(shows.damage):
        found.add(("expected", "zeroes"))
    return frozenset(found)


def weight(trait: Trait) -> float:
    """Return how much a trait says about the cause; 1 is average."""
    kind, value = trait
    if kind == "damage":
        return _DAMAGES.get(Damage(value), 0.8)
    if kind == "command":
        return _COMMANDS.get(value, 1.0)
    if kind == "end" and value in _WEAK_ENDS:
        return 0.7
    if kind == "end" and value == "server died":
        return 6.0
    return _KINDS.get(kind, _OTHER)


def title_of(root: Trait, shared: set[Trait]) -> str:
    """Return what the failures of a cause have in common, as a sentence of the telling traits.

    For example: ``torn data of write zeroes requests, after a power cut, at most 512 bytes``.
    """
    others = sorted(shared - {root}, key=lambda trait: (-weight(trait), trait))
    chosen: dict[str, list[str]] = {}
    roots = [root] if root in shared or root[0] == "damage" else []
    for kind, value in [*roots, *others][:_TOLD]:
        chosen.setdefault(kind, []).append(value)
    subject, requests = _subject(chosen), _requests(chosen)
    if symptoms.FLUSH in chosen.get("command", ()) and subject.endswith(" data"):
        requests = "that flush requests had to make durable"
    if symptoms.FLUSH in chosen.get("command", ()) and not subject:
        subject, requests = "flush requests that did not make data durable, or ended wrongly", ""
    parts = [" ".join(filter(None, (subject or "wrong outcome" * bool(requests), requests)))]
    parts += [f"where {value} are expected" for value in chosen.get("expected", ())]
    if _ended_as(chosen):
        chosen.pop("errno")
    for kind in ("moved", "state", "errno", "size", "alignment"):
        parts += [_PHRASES.get(value, value) for value in map(_distance, chosen.get(kind, []))]
    state = next(iter(chosen.get("state", ())), "")
    if parts[0].startswith(_LOST) and state in parts:
        parts.remove(state)
        parts[0] = f"data{parts[0].removeprefix(_LOST)} is lost {state}"
    return ", ".join(part for part in parts if part) or NOTHING


def _distance(value: str) -> str:
    """Return ``8 sectors too high`` for ``+8 sectors away``; other words as they are."""
    found = _MOVED.fullmatch(value)
    if found is None:
        return value
    unit = found[3].removesuffix("s") if found[2] == "1" else found[3]
    return f"{found[2]} {unit} too {'high' if found[1] == '+' else 'low'}"


def _subject(chosen: Mapping[str, Sequence[str]]) -> str:
    """Return what went wrong: a program's death, the kinds of damage, or how requests ended."""
    if "program" in chosen:
        return chosen["program"][0]
    damage = list(chosen.get("damage", ()))
    if ended := _ended_as(chosen):
        return ended
    kinds = [kind for kind in damage if Damage(kind) in _CONTENTS]
    words = ["wrong" if Damage(kind) is Damage.UNKNOWN else kind for kind in kinds]
    contents = " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
    rest = [_SAID.get(kind, kind) for kind in damage if Damage(kind) not in _CONTENTS]
    rest += [_SAID.get(end, end) for end in chosen.get("end", ())]
    return ", ".join([*([f"{contents} data"] if contents else []), *rest])


def _ended_as(chosen: Mapping[str, Sequence[str]]) -> str:
    """Return what an error means that is none: a wrong success, or a connection that ended."""
    if Damage.ERROR.value not in chosen.get("damage", ()):
        return ""
    errors = set(chosen.get("errno", ()))
    if errors == {_NO_ERROR}:
        return _SAID["must fail"]
    return _CONNECTION_ENDED if errors and errors <= _ENDED else ""


def _requests(chosen: Mapping[str, Sequence[str]]) -> str:
    """Return ``of write requests with FUA``; "" if no command and no flag is known."""
    if "program" in chosen or not {"command", "flag"} & set(chosen):
        return ""
    damage = chosen.get("damage", ())
    if symptoms.STATUS in chosen.get("command", ()) and Damage.STATUS.value in damage:
        return ""
    command = "".join(f"{value} " for value in chosen.get("command", ()))
    flags = " and ".join(chosen.get("flag", ()))
    of = "in replies to" if {Damage.PROTOCOL.value, Damage.LENGTH.value} & set(damage) else "of"
    if _ended_as(chosen) == _CONNECTION_ENDED:
        of = "instead of replies to"
    return f"{of} {command}requests" + (f" with {flags}" if flags else "")
