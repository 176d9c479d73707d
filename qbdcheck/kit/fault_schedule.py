"""Control when faults start and when they end.

A fault starts with a phase of a case and heals at its end, also if the phase fails. Or it starts at
the Nth matching request and heals after a number of requests. Or it sweeps: it hits the first
matching request, in the next run the second, and so on until a run is not hit. SQLite tests its
out-of-memory and I/O error paths in this way (sqlite.org/testing.html, "Anomaly testing"). No fault
can be armed here without the end of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Protocol

import yaml

from qbdcheck.errors import CaseBroken

Rule = Mapping[str, Any]
"""A rule as in docs/rules.md."""
SWEEP_MAX = 400
"""Maximum number of runs of a sweep."""
TIMING = ("after", "count", "every", "once")
"""Keys of a rule that set its time; here the schedule sets it."""


class Counts(Protocol):
    """Counters of a rule."""

    @property
    def fired(self) -> int:
        """Number of faults so far."""


class Faults(Protocol):
    """The interface for arming rules: the fixture ``rules``."""

    def add(self, rule: Rule) -> str:
        """Arm a rule; return its id."""

    def remove(self, identity: str) -> None:
        """Disarm a rule, and release the requests that it holds."""

    def seen(self, identity: str) -> Counts:
        """Return the counters of a rule."""


class Turn:
    """One run of a sweep: the fault hits the request of this ``number``, from 1."""

    def __init__(self, number: int, faults: Faults, identity: str) -> None:
        self.number = number
        self._faults = faults
        self._identity = identity

    @property
    def fired(self) -> bool:
        """Whether the fault has already hit a request in this run."""
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
        """Load the phases of a YAML text: ``phases: {NAME: [RULE, ...], ...}``.

        :raise CaseBroken: the text has another form.
        """
        try:
            document = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, LookupError) as error:
            raise CaseBroken(f"schedule: {error}") from None
        phases = document.get("phases") if isinstance(document, dict) else None
        if not isinstance(phases, dict) or set(document) != {"phases"}:
            raise CaseBroken("schedule: write `phases: {NAME: [RULE, ...]}`, and no other key")
        for name, rules in phases.items():
            if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
                raise CaseBroken(f"schedule: phase {name} is not a list of rules")
            self._phases[str(name)] = rules
        self._left |= {str(name) for name in phases}

    @contextlib.contextmanager
    def phase(self, name: str, *rules: Rule) -> Iterator[list[str]]:
        """Arm the loaded and the given rules of a phase; yield their ids; disarm them at the end.

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
                self._faults.seen(identity)  # so that `rules` remembers whether it fired
                self._faults.remove(identity)
            self._log(f"phase {name} is healed")

    def at(self, number: int, rule: Rule, *, heals_after: int = 1) -> str:
        """Arm a fault that hits the Nth matching request and then ends; return its id.

        :param number: from 1. :param heals_after: number of requests in a row that it hits, from 1.
        :raise CaseBroken: the rule is wrong, or sets its own time.
        """
        timing = [key for key in TIMING if key in rule]
        if timing or number < 1 or heals_after < 1:
            what = f"remove {', '.join(timing)} from the rule" if timing else "count from 1"
            raise CaseBroken(f"schedule: {what}; the schedule decides when the fault starts")
        return self._faults.add({**rule, "after": number - 1, "count": heals_after})

    def sweep(
        self, rule: Rule, *, heals_after: int = 1, most: int = SWEEP_MAX
    ) -> Generator[Turn, None, None]:
        """Yield one turn for each matching request of a workload, until a turn is not hit.

        The body of the loop is the workload; it must send the same requests in each turn. The last
        turn, without a fault, shows that nothing stayed broken.

        :raise CaseBroken: the first turn is not hit, or the sweep does not end.
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
        """Check at the end of the case that each loaded phase was used.

        :raise CaseBroken: a loaded phase was never used.
        """
        if self._left:
            raise CaseBroken(
                f"schedule: these phases never started: {', '.join(sorted(self._left))}"
            )
