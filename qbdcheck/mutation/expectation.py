"""What a diagnosis must say to name the bug of a mutant.

A mutant names kinds of damage, or one of the `EFFECTS`: a bug that loses writes shows as a stale
sector, as zeroes, or as a broken file system, depending on what was there before and who reads it.
A failure of which there is no data is matched by its text, from which the id of the mutant is
struck out: the name of the target is in many messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mutants.mutant import Mutant
from oracles.damage import Damage
from oracles.finding import Finding

_CONTENTS = (Damage.ZEROED, Damage.STALE, Damage.NEVER_WRITTEN, Damage.UNKNOWN)
EFFECTS: Mapping[str, frozenset[Damage]] = {
    "lost write": frozenset(
        (*_CONTENTS, Damage.LOST, Damage.NOT_LINEARIZABLE, Damage.METADATA, Damage.FILE)
    ),
    "misplaced data": frozenset(
        (
            *_CONTENTS,
            Damage.MISDIRECTED,
            Damage.SHIFTED,
            Damage.SWAPPED,
            Damage.TORN,
            Damage.OTHER_WRITE,
            Damage.ALTERED,
        )
    ),
    "missing zeroes": frozenset(
        (Damage.STALE, Damage.NEVER_WRITTEN, Damage.TORN, Damage.UNKNOWN, Damage.STATUS)
    ),
}
"""Effects of bugs, each with the kinds of damage by which it shows."""


def expected_damage(mutant: type[Mutant]) -> frozenset[Damage]:
    """Return the kinds of damage by which a bug shows.

    :raise ValueError: the mutant names a kind that does not exist.
    """
    kinds: set[Damage] = set()
    for word in mutant.shows:
        kinds |= EFFECTS.get(word) or {Damage(word)}
    return frozenset(kinds)


def is_named(mutant: type[Mutant], damage: Iterable[str], text: str) -> bool:
    """Say whether a diagnosis names the bug.

    :param damage: words of the kinds of damage that were found.
    :param text: the message of the failure; it counts only for what is not data.
    """
    expected = {kind.value for kind in expected_damage(mutant)}
    if expected & set(damage):
        return True
    return bool(mutant.says) and re.search(mutant.says, without_id(mutant, text)) is not None


def without_id(mutant: type[Mutant], text: str) -> str:
    """Return a text without the id of a mutant, and so without the name of its target."""
    return text.replace(mutant.id, "")


def findings_in(event: Mapping[str, Any]) -> Sequence[Finding]:
    """Return the findings of an event of the JSON-lines report."""
    return [Finding.from_json(members) for members in event.get("findings", ())]
