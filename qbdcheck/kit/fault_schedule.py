"""When faults start and when they heal.

A fault starts with a phase of a case and heals at its end, whatever becomes of the phase; or it
starts at the Nth request that it covers and heals after so many; or it sweeps: it meets the first
such request, then in another run the second, and so on until a run meets it no more. So SQLite
tests its out-of-memory and I/O error paths (sqlite.org/testing.html, "Anomaly testing"). Nothing
can be armed here without its healing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import yaml

from qbdcheck.errors import CaseBroken

Rule = Mapping[str, Any]
"""A rule as in docs/rules.md."""
SWEEP_MAX = 400
"""Runs of the longest sweep."""
TIMING = ("after", "count", "every", "once")
"""Keys of a rule that say when: here the schedule says it."""


class Counts(Protocol):
    """What a rule has met."""

    @property
    def fired(self) -> int:
        """Faults until now."""


class Faults(Protocol):
    """A place where rules are armed: the fixture ``rules``."""

    def add(self, rule: Rule) -> str:
        """Arm a rule; return its id."""

    def remove(self, identity: str) -> None:
        """Disarm one, and let go what it holds."""

    def seen(self, identity: str) -> Counts:
        """Return what became of it."""


class Turn:
    """One run of a sweep: the fault meets the request of this ``number``, from 1."""

    def __init__(self, number: int, faults: Faults, identity: str) -> None:
        self.number = number
        self._faults = faults
        self._identity = identity

    @property
    def fired(self) -> bool:
        """Whether it has met it already in this run."""
        return self._faults.seen(self._identity).fired > 0


class Schedule:
    """The fixture ``schedule``.

    :param faults: where rules are armed. :param log: writes to full.log.
    """

    def __init__(self, faults: Faults, log: Callable[..., None]) -> None:
        self._faults = faults
        self._log = log
        self._phases: dict[str, list[Rule]] = {}
        self._left: set[str] = set()

    def load(self, text: str) -> None:
        """Take the phases of a YAML text: ``phases: {NAME: [RULE, ...], ...}``.

        :raise CaseBroken: it is not that.
        """
        try:
            told = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, LookupError) as error:
            raise CaseBroken(f"schedule: {error}") from None
        phases = told.get("phases") if isinstance(told, dict) else None
        if not isinstance(phases, dict) or set(told) != {"phases"}:
            raise CaseBroken("schedule: write `phases: {NAME: [RULE, ...]}`, and nothing beside it")
        for name, rules in phases.items():
            if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
                raise CaseBroken(f"schedule: phase {name} is no list of rules")
            self._phases[str(name)] = rules
        self._left |= {str(name) for name in phases}

    @contextlib.contextmanager
    def phase(self, name: str, *rules: Rule) -> Iterator[list[str]]:
        """Arm the rules of a phase, those loaded and those given; give their ids; heal at its end.

        :raise CaseBroken: a rule is wrong, or the phase has none.
        """
        every = [*self._phases.get(name, []), *rules]
        if not every:
            known = ", ".join(self._phases) or "none"
            raise CaseBroken(f"schedule: phase {name} has no rules; loaded phases: {known}")
        self._left.discard(name)
        self._log(f"phase {name} begins: {len(every)} rules")
        armed: list[str] = []
        try:
            for rule in every:
                armed.append(self._faults.add(rule))  # noqa: PERF401
            yield armed
        finally:
            for identity in armed:
                self._faults.seen(identity)  # whether it fired is remembered
                self._faults.remove(identity)
            self._log(f"phase {name} is healed")

    def at(self, number: int, rule: Rule, *, heals_after: int = 1) -> str:
        """Arm a fault that meets the Nth request that it covers, and heals itself; return its id.

        :param number: from 1. :param heals_after: requests in a row that meet it, from 1.
        :raise CaseBroken: the rule is wrong, or says itself when.
        """
        timing = [key for key in TIMING if key in rule]
        if timing or number < 1 or heals_after < 1:
            what = f"has the keys {', '.join(timing)}" if timing else "is counted from 1"
            raise CaseBroken(f"schedule: when a fault starts {what}; the schedule says when")
        return self._faults.add({**rule, "after": number - 1, "count": heals_after})

    def sweep(self, rule: Rule, *, heals_after: int = 1, most: int = SWEEP_MAX) -> Iterator[Turn]:
        """Give one turn for each request that a workload makes, until one is clean.

        The body of the loop is the workload; it must make the same requests in each turn. The last
        turn, in which nothing is met, is run too: it shows that nothing stayed broken.

        :raise CaseBroken: nothing was met in the first turn, or there is no end of it.
        """
        for number in range(1, most + 1):
            identity = self.at(number, {**rule, "may_not_fire": True}, heals_after=heals_after)
            turn = Turn(number, self._faults, identity)
            try:
                yield turn
                met = turn.fired
            finally:
                self._faults.remove(identity)
            if not met:
                if number == 1:
                    raise CaseBroken("schedule: the sweep met no request at all")
                self._log(f"the sweep met {number - 1} requests; the last run was clean")
                return
        raise CaseBroken(f"schedule: the sweep met {most} requests and found no end")

    def settle(self) -> None:
        """End the case.

        :raise CaseBroken: a phase was loaded and never came.
        """
        if self._left:
            raise CaseBroken(f"schedule: no such phase came: {', '.join(sorted(self._left))}")
