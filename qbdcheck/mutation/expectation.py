"""The damage and text by which a diagnosis names the bug of a mutant.

A mutant names kinds of damage, or one of the `EFFECTS`. A bug that loses writes can show as a stale
sector, as zeroes, or as a broken file system; this depends on the old contents and on the reader.
A failure without findings is matched by its text. The id of the mutant is removed from the text
first, because many messages contain the name of the target.
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
"""Effects of bugs, each with the kinds of damage that it can cause."""


def expected_damage(mutant: type[Mutant]) -> frozenset[Damage]:
    """Return the kinds of damage that a bug can cause.

    :raise ValueError: the mutant names a kind that does not exist.
    """
    kinds: set[Damage] = set()
    for word in mutant.shows:
        kinds |= EFFECTS.get(word) or {Damage(word)}
    return frozenset(kinds)


def is_named(mutant: type[Mutant], damage: Iterable[str], text: str) -> bool:
    """Return whether a diagnosis names the bug.

    :param damage: the values of the kinds of damage that were found.
    :param text: the message of the failure.
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
