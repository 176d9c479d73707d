"""The engine: blkdebug's semantics, without input, output, clock, threads or hidden randomness.

Source: QEMU 7.2, block/blkdebug.c (process_rule, rule_check). The test
tests/injectors/test_engine_against_qemu.py compares it with QEMU. Per node:

1. The state starts at 1. All rules of an event see the state from before the event.
2. If rules match an event, they replace the active list. If none matches, the old list stays. A
   later change of state does not deactivate a rule.
3. The first active rule, in the order of the file, that covers a request decides.
4. Of two set-state rules on one event, the first one in the file wins.
5. `once` removes a rule when it injects, not when its event fires; errno 0 injects nothing.

Beyond blkdebug: rules can be added, changed and removed at any time. A rule of the event `none` is
active from its addition until an event activates other rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from blockio.layers import Request
from injectors.rules import chance
from injectors.rules.events import EVERY_OPEN, IoType
from injectors.rules.index import Active
from injectors.rules.model import Rule, RuleSet, SetState


class Counts(NamedTuple):
    """Counts of a rule: firings of its event, covered requests, injected faults."""

    events: int
    matches: int
    fired: int


class Armed:
    """A rule in an engine. ``memory`` is that of its fault; ``id`` is unique in the engine."""

    __slots__ = ("events", "fired", "id", "live", "matches", "memory", "rule", "serial")

    def __init__(self, identity: str, serial: int, rule: Rule) -> None:
        self.id = identity
        self.serial = serial
        self.rule = rule
        self.live = True
        self.matches = 0
        self.fired = 0
        self.memory: Any = rule.fault.new_memory()
        self.events = 0

    def __repr__(self) -> str:
        return f"Armed({self.id}, {self.rule}, matches={self.matches}, fired={self.fired})"


class _Arming:
    """The rules that an event arms in each state; ``count``: firings since the last `_index`."""

    __slots__ = ("changes", "count", "in_state", "rules")

    def __init__(self) -> None:
        self.count = 0
        self.rules: list[Armed] = []
        self.changes: list[SetState] = []
        self.in_state: dict[int, Active[Armed] | None] = {}

    def matching(self, state: int) -> Active[Armed] | None:
        """Return the rules that the event arms in a state, or None."""
        found = [one for one in self.rules if one.rule.state in (0, state)]
        self.in_state[state] = matching = Active(found) if found else None
        return matching


Arms = tuple[Sequence[_Arming], Active[Armed] | None]
"""The entries that a sequence of events counts, and the rules that it arms."""


class Engine:
    """Decide which requests meet a fault.

    :param rules: the rules, in order. :param seed: seed of probabilities and choices, unless the
        rules have one. The same seed and the same requests give the same faults.

    ``version`` increases when rules or changes of state are added or removed.
    """

    def __init__(self, rules: RuleSet | None = None, seed: int = 0) -> None:
        self.state = 1
        self.seed = seed
        self._rules: dict[str, Armed] = {}
        self._states: list[SetState] = []
        self._serial = 0
        self.version = 0
        self._arming: dict[str, _Arming] = {}
        self.active_rules: Active[Armed] = Active(())
        self.load(rules or RuleSet())

    # -- events and requests

    def on_event(self, event: str) -> None:
        """Arm rules and change the state after an event of blkdebug's list fired."""
        arming = self._arming.get(event)
        if arming is None:
            return
        arming.count += 1
        state = self.state
        try:
            matching = arming.in_state[state]
        except KeyError:
            matching = arming.matching(state)
        if matching is not None:
            self.active_rules = matching
        for change in arming.changes:
            if change.state in (0, state):
                self.state = change.new_state
                break

    def is_used(self, event: str) -> bool:
        """Return whether an event arms a rule or changes the state, in any state."""
        return event in self._arming

    def arms(self, events: Sequence[str]) -> Arms | None:
        """Return what a sequence of events counts and arms, or None if it depends on the state.

        Valid for one version. Of several events, the last one that arms rules counts.
        """
        armings = [self._arming[event] for event in events if event in self._arming]
        if any(one.changes or any(armed.rule.state for armed in one.rules) for one in armings):
            return None
        armed = [one.matching(self.state) for one in armings]
        return armings, next((one for one in reversed(armed) if one is not None), None)

    def note(self, arms: Arms) -> None:
        """Do what ``on_event`` does for a sequence of events, given the result of ``arms``."""
        armings, armed = arms
        for arming in armings:
            arming.count += 1
        if armed is not None:
            self.active_rules = armed

    def may_meet(self, iotype: IoType, offset: int, length: int) -> bool:
        """Return whether an active rule covers the request. Counts nothing."""
        return self.active_rules.of_kind(iotype).touches(offset, length)

    def decide(
        self,
        iotype: IoType,
        offset: int,
        length: int,
        connection: int = 0,
        request: Request | None = None,
    ) -> Armed | None:
        """Return the rule that a request meets, or None; offset and length are in bytes.

        Counts matches: call it once for each request. Given the ``request`` itself, it skips rules
        whose fault does not apply to the request, without counting a match.
        """
        for armed in self.active_rules.covering(iotype, offset, length):
            wanted = armed.rule.connections
            if wanted is not None and connection not in wanted:
                continue
            if request is not None and not armed.rule.fault.applies(request, armed.memory):
                continue
            if self._takes(armed):
                return self._fire(armed)
        return None

    def _takes(self, armed: Armed) -> bool:
        rule = armed.rule
        armed.matches += 1
        turn = armed.matches - 1 - rule.after
        if turn < 0 or turn % rule.every:
            return False
        if rule.probability < 1:
            drawn = chance.fraction(self.seed, armed.serial, "takes", armed.matches)
            return drawn < rule.probability
        return True

    def _fire(self, armed: Armed) -> Armed | None:
        if armed.rule.fault.idle:
            return None
        armed.fired += 1
        limit = armed.rule.limit
        if limit is not None and armed.fired >= limit:
            self._retire(armed)
        return armed

    # -- additions and removals

    def load(self, rules: RuleSet) -> list[Armed]:
        """Append rules and changes of state; return the added rules.

        :raise ValueError: a name is in use; nothing was added.
        """
        names = [rule.name for rule in rules.rules if rule.name]
        for name in names:
            if name in self._rules or names.count(name) > 1:
                raise ValueError(f"there is a rule named {name} already")
        if rules.seed is not None:
            self.seed = rules.seed
        added = [self._enter(rule) for rule in rules.rules]
        self._states += rules.states
        self._index()
        opened = [armed for armed in added if armed.rule.event == EVERY_OPEN]
        for armed in opened:
            armed.events += 1
        newly = [armed for armed in opened if armed.rule.state in (0, self.state)]
        if newly:
            self.active_rules = Active(sorted((*self.active_rules.order, *newly), key=_serial))
        for change in rules.states:
            if change.event == EVERY_OPEN and change.state in (0, self.state):
                self.state = change.new_state
                break
        return added

    def add(self, rule: Rule) -> Armed:
        """Add one rule.

        :raise ValueError: its name is in use.
        """
        return self.load(RuleSet((rule,)))[0]

    def change(self, identity: str, rule: Rule) -> Armed:
        """Replace a rule: same id, same position, counts from 0.

        An active rule stays active, unless its event changes.

        :raise ValueError: there is no such rule.
        """
        old = self.find(identity)
        new = self._rules[identity] = Armed(identity, old.serial, rule)
        self._index()
        order = [one for one in self.active_rules.order if one is not old]
        opens = rule.event == EVERY_OPEN and rule.state in (0, self.state)
        if opens or (old in self.active_rules.order and rule.event == old.rule.event):
            order.append(new)
        new.events += rule.event == EVERY_OPEN
        self.active_rules = Active(sorted(order, key=_serial))
        return new

    def clear(self) -> list[Armed]:
        """Remove all rules and changes of state, return to state 1, and return the rules."""
        removed = [self.remove(identity) for identity in list(self._rules)]
        self._states.clear()
        self._index()
        self.state = 1
        return removed

    def remove(self, identity: str) -> Armed:
        """Remove a rule and return it.

        :raise ValueError: there is no such rule.
        """
        armed = self.find(identity)
        self._retire(armed)
        del self._rules[identity]
        return armed

    def find(self, identity: str) -> Armed:
        """Return a rule by its id.

        :raise ValueError: there is no such rule.
        """
        try:
            return self._rules[identity]
        except KeyError:
            there = ", ".join(self._rules) or "none"
            raise ValueError(f"there is no rule {identity}; there are: {there}") from None

    @property
    def rules(self) -> Iterable[Armed]:
        """All rules that were not removed, in order; also those that `once` or `count` ended."""
        return list(self._rules.values())

    @property
    def states(self) -> Iterable[SetState]:
        """All changes of state, in order."""
        return list(self._states)

    @property
    def active(self) -> bool:
        """False if no request can meet a fault and no event can change the state."""
        return bool(self._arming or self.active_rules.order)

    def counts(self, armed: Armed) -> Counts:
        """Return the counts of a rule."""
        arming = self._arming.get(armed.rule.event)
        since = arming.count if arming is not None and armed.live else 0
        return Counts(armed.events + since, armed.matches, armed.fired)

    def _enter(self, rule: Rule) -> Armed:
        self._serial += 1
        while not rule.name and f"rule{self._serial}" in self._rules:
            self._serial += 1
        identity = rule.name or f"rule{self._serial}"
        armed = self._rules[identity] = Armed(identity, self._serial, rule)
        return armed

    def _retire(self, armed: Armed) -> None:
        if not armed.live:
            return
        armed.live = False
        self._index()
        self.active_rules = Active([one for one in self.active_rules.order if one is not armed])

    def _index(self) -> None:
        for arming in self._arming.values():
            for armed in arming.rules:
                armed.events += arming.count
        self._arming = {}
        self.version += 1
        for armed in self._rules.values():
            if armed.live:
                self._arming.setdefault(armed.rule.event, _Arming()).rules.append(armed)
        for change in self._states:
            self._arming.setdefault(change.event, _Arming()).changes.append(change)


def _serial(armed: Armed) -> int:
    return armed.serial
