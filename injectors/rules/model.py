"""The model of a rule: frozen values, checked when they are created.

The conditions are blkdebug's. `compile` refuses what blkdebug cannot express (several ranges,
probability, after, every, count, connection, faults other than an errno).
"""

from __future__ import annotations

import errno as errno_numbers
from dataclasses import dataclass, field
from typing import Any

from injectors.error import Error
from injectors.rules.events import DEFAULT_IOTYPES, IoType, event_name
from injectors.rules.fault import SECTOR, Errno, Fault

Span = tuple[int, int]
"""First byte, and the byte after the last."""


def point(sector: int) -> Span:
    """Return the span of a sector in blkdebug: its first byte, which a request must contain."""
    return sector * SECTOR, sector * SECTOR + 1


def sectors(first: int, last: int) -> Span:
    """Return all bytes of the sectors from first to last, both included."""
    return first * SECTOR, (last + 1) * SECTOR


@dataclass(frozen=True)
class Rule:
    """A fault, and the conditions of its injection.

    ``event`` arms the rule if the state is then ``state`` (0: any). ``iotypes`` None means
    blkdebug's default, all but block-status, as far as the fault applies to them. ``spans`` None
    means any request, including a flush; otherwise a request matches if it touches one of them,
    which a flush never does. ``once`` removes the rule when it injects.

    Beyond blkdebug: several spans; ``probability`` in (0, 1]; ``after`` skips this many matches;
    ``every`` then takes one match in n, beginning with the first; ``count`` removes the rule after
    this many faults; ``connections`` are numbers of connections, from 1. ``may_not_fire`` is for
    the case that adds the rule.
    """

    event: str
    fault: Fault = field(default_factory=Error)
    state: int = 0
    iotypes: frozenset[IoType] | None = None
    spans: tuple[Span, ...] | None = None
    once: bool = False
    probability: float = 1.0
    after: int = 0
    every: int = 1
    count: int | None = None
    connections: frozenset[int] | None = None
    may_not_fire: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "event", event_name(self.event))
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability {self.probability} must be above 0 and at most 1")
        if self.after < 0 or self.every < 1 or (self.count is not None and self.count < 1):
            raise ValueError("after must be at least 0, every and count at least 1")
        if self.once and self.count is not None:
            raise ValueError("use once or count, not both; once means count: 1")
        for first, end in self.spans or ():
            if not 0 <= first < end:
                raise ValueError(f"the range from byte {first} to {end - 1} is not ascending")
        excluded = (self.iotypes or frozenset()) - self.fault.hurts
        if excluded:
            kinds = ", ".join(sorted(kind.value for kind in self.fault.hurts))
            wrong = ", ".join(sorted(kind.value for kind in excluded))
            raise ValueError(
                f"action {self.fault.action} does not apply to {wrong}, only to {kinds}"
            )

    @property
    def kinds(self) -> frozenset[IoType]:
        """Kinds of request that the rule covers."""
        if self.iotypes is not None:
            return self.iotypes
        return (DEFAULT_IOTYPES & self.fault.hurts) or self.fault.hurts

    @property
    def limit(self) -> int | None:
        """Number of faults after which the rule is removed; None for never."""
        return 1 if self.once else self.count

    def covers(self, iotype: IoType, offset: int, length: int, connection: int = 0) -> bool:
        """Return whether the rule covers a request; offset and length are in bytes."""
        if iotype not in self.kinds:
            return False
        if self.connections is not None and connection not in self.connections:
            return False
        if self.spans is None:
            return True
        stop = offset + length
        return length > 0 and any(first < stop and end > offset for first, end in self.spans)


def error_rule(
    event: str, errno: int = errno_numbers.EIO, immediately: bool = False, **conditions: Any
) -> Rule:
    """Return a rule with blkdebug's only fault, an errno."""
    return Rule(event, Error(Errno(errno), immediately=immediately), **conditions)


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
    """Rules in order of precedence, changes of state, and a seed.

    ``seed`` None means the seed of the run.
    """

    rules: tuple[Rule, ...] = ()
    states: tuple[SetState, ...] = ()
    seed: int | None = None


def errno_number(text: str | int) -> int:
    """Return an errno by number or by name (``28``, ``ENOSPC``).

    :raise ValueError: there is no such name.
    """
    if isinstance(text, int):
        return text
    stripped = text.strip()
    if stripped.lstrip("-").isdigit():
        return int(stripped)
    number = getattr(errno_numbers, stripped, None)
    if not isinstance(number, int):
        raise ValueError(f"{text} is not an errno: use a name such as ENOSPC, or a number")
    return number


def errno_name(number: int) -> str | int:
    """Return the name of an errno, or the number where it has none."""
    return errno_numbers.errorcode.get(number, number)
