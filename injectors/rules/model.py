"""What a rule says: frozen values, checked when they are made.

The words are blkdebug's. What goes beyond it (several sector ranges, probability, after, every,
count) is marked; `compile` refuses those for a place that lacks them.
"""

from __future__ import annotations

import errno as errno_numbers
from dataclasses import dataclass

from injectors.rules.events import DEFAULT_IOTYPES, IoType, event_name

SECTOR = 512
"""Bytes of a sector in blkdebug's and NBD's users' sense."""

SectorRange = tuple[int, int]
"""First and last sector of 512 bytes, both included."""


@dataclass(frozen=True)
class InjectError:
    """Fail a request with an errno.

    ``state`` 0 means any. ``sectors`` None means any request, also a flush; otherwise a request
    matches that touches one of the ranges, and a flush never does. ``errno`` 0 matches and does
    nothing, which masks later rules.

    Beyond blkdebug: several ranges; ``probability`` in (0, 1]; ``after`` skips that many matches;
    ``every`` takes each n-th match after these; ``count`` ends the rule after so many faults.
    """

    event: str
    state: int = 0
    errno: int = errno_numbers.EIO
    iotypes: frozenset[IoType] = DEFAULT_IOTYPES
    sectors: tuple[SectorRange, ...] | None = None
    once: bool = False
    immediately: bool = False
    probability: float = 1.0
    after: int = 0
    every: int = 1
    count: int | None = None
    may_not_fire: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "event", event_name(self.event))
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability {self.probability} is not above 0 and at most 1")
        if self.after < 0 or self.every < 1 or (self.count is not None and self.count < 1):
            raise ValueError("after is at least 0, every and count are at least 1")
        for first, last in self.sectors or ():
            if not 0 <= first <= last:
                raise ValueError(f"sector range {first}-{last} is not ascending from 0")

    @property
    def is_plain(self) -> bool:
        """True where blkdebug of QEMU knows every condition of the rule."""
        points = self.sectors is None or (len(self.sectors) == 1 and len(set(self.sectors[0])) == 1)
        extra = (self.probability, self.after, self.every, self.count) != (1.0, 0, 1, None)
        return points and not extra

    def covers(self, iotype: IoType, offset: int, length: int) -> bool:
        """Return whether a request of this kind, offset and length in bytes, is meant."""
        if iotype not in self.iotypes:
            return False
        if self.sectors is None:
            return True
        end = offset + length
        return length > 0 and any(
            max(first * SECTOR, offset) < end and last * SECTOR >= offset
            for first, last in self.sectors
        )


@dataclass(frozen=True)
class SetState:
    """Go to ``new_state`` when the event fires in ``state`` (0: in any)."""

    event: str
    new_state: int
    state: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "event", event_name(self.event))


@dataclass(frozen=True)
class RuleSet:
    """Rules in the order in which they were written; that order decides which of two wins."""

    inject: tuple[InjectError, ...] = ()
    states: tuple[SetState, ...] = ()


def errno_number(text: str | int) -> int:
    """Return an errno by number or by name (``28``, ``ENOSPC``).

    :raise ValueError: no such name.
    """
    if isinstance(text, int):
        return text
    stripped = text.strip()
    if stripped.lstrip("-").isdigit():
        return int(stripped)
    number = getattr(errno_numbers, stripped, None)
    if not isinstance(number, int):
        raise ValueError(f"{text} is not an errno: a name like ENOSPC or a number is")
    return number
