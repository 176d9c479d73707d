"""Traits of failures, and how much each one says about the cause.

A trait is a kind of property and its value, such as the request or the kind of damage.
"""

from __future__ import annotations

from collections.abc import Mapping

from oracles.damage import Damage
from qbdcheck.report import symptoms
from qbdcheck.report.symptoms import Symptoms

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
