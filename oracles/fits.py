"""What the replay of a sector's history has shown: which change explains the damage, and how."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from oracles.damage import Operation
from oracles.life import IN_FLIGHT


class How(enum.Enum):
    """How a change explains what a sector has. The value is the word in reports."""

    MISSING = "missing"
    """The sector is as if the change had not been made there."""
    BEFORE = "before"
    """The sector is as it was before the change: it and all later ones are not there."""
    AGAIN = "again"
    """The sector is as if the change had been made again, after all others."""
    ORDER = "order"
    """The sector is as if the change had been made before the one that came before it."""
    NOT_KEPT = "not kept"
    """The sector has the change and all later ones, and zeroes instead of what was there before."""
    OTHERS = "other volume"
    """The sector is as if the change of another volume had been made here, too."""


_LOSES = (How.MISSING, How.BEFORE)


@dataclass(frozen=True)
class Fit:
    """The change that explains a sector.

    :ivar seen: the change whose data is there instead; None: none, or not known.
    :ivar volume: whose change it is, where it is another volume; else empty.
    """

    how: How
    change: Operation
    seen: Operation | None = None
    volume: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether the change is not there."""
        return self.how in _LOSES

    @property
    def text(self) -> str:
        """What the replay has shown, as the rest of a sentence whose subject is the sector."""
        name, seen = _named(self.change), _named(self.seen)
        match self.how:
            case How.MISSING:
                return f"is exactly what it would be without {name}"
            case How.BEFORE:
                return f"is exactly what it was before {name}"
            case How.AGAIN:
                return f"is exactly what it would be if {name} had been made again, as the last one"
            case How.ORDER:
                return f"is exactly what it would be if {name} had been made before {seen}"
            case How.NOT_KEPT:
                return f"has {name} and all later changes, and zeroes instead of what was before it"
            case How.OTHERS:
                return f"is exactly what it would be if {name} of {self.volume} had changed it, too"


def _named(change: Operation | None) -> str:
    if change is None:
        return "the volume's first contents"
    if change.text == "prefill":
        return "the prefill"
    name = change.text.removesuffix(IN_FLIGHT)
    unit = "byte" if change.length == 1 else "bytes"
    return f"{name} #{change.number} of {change.length} {unit} at offset {change.offset}"
