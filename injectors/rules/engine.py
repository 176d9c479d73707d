"""The engine: blkdebug's semantics, without input, output, clock or randomness of its own.

Source: QEMU 7.2, block/blkdebug.c (process_rule, rule_check), held against the real one by
tests/injectors/test_engine_against_qemu.py. Per node:

1. The state starts at 1. All rules of an event see the state from before the event.
2. If an inject rule matches an event, the matching rules replace the active list; if none does, the
   old list stays. A later change of state does not deactivate a rule.
3. The first active rule, in the order written, that covers a request decides.
4. Of two set-state rules on one event the one written first wins.
5. `once` removes a rule when it injects, not when its event fires; with errno 0 nothing injects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from injectors.rules.events import EVERY_OPEN, IoType
from injectors.rules.model import InjectError, RuleSet


@dataclass
class Counts:
    """What a rule saw: its event, requests that it covered, faults that it injected."""

    events: int = 0
    matches: int = 0
    fired: int = 0


class Engine:
    """Decide which requests fail.

    :param rules: the rules, in order.
    :param chance: gives numbers in [0, 1) for rules with a probability; draw them from the run's
        seed, so that the same seed and the same requests give the same faults.
    """

    def __init__(self, rules: RuleSet, chance: Callable[[], float] | None = None) -> None:
        self.state = 1
        self.counts = [Counts() for _ in rules.inject]
        self._rules = rules
        self._chance = chance
        self._live = set(range(len(rules.inject)))
        self._active: list[int] = []
        if chance is None and any(rule.probability < 1 for rule in rules.inject):
            raise ValueError("a rule with a probability needs a source of chance")
        self.on_event(EVERY_OPEN)

    def on_event(self, event: str) -> None:
        """Take note that an event of blkdebug's list fired."""
        matching = []
        for number, rule in enumerate(self._rules.inject):
            if rule.event == event and number in self._live:
                self.counts[number].events += 1
                if rule.state in (0, self.state):
                    matching.append(number)
        if matching:
            self._active = matching
        for change in self._rules.states:
            if change.event == event and change.state in (0, self.state):
                self.state = change.new_state
                break

    def errno_for(self, iotype: IoType, offset: int, length: int) -> int:
        """Return the errno with which a request fails, 0 for none; offset and length in bytes."""
        for number in self._active:
            rule = self._rules.inject[number]
            if rule.covers(iotype, offset, length) and self._takes(rule, self.counts[number]):
                return self._inject(number, rule)
        return 0

    @property
    def never_fired(self) -> Sequence[InjectError]:
        """Rules that injected nothing and may not be silent: a case with one of these is BROKEN."""
        pairs = zip(self._rules.inject, self.counts, strict=True)
        return [rule for rule, seen in pairs if not seen.fired and not rule.may_not_fire]

    def _takes(self, rule: InjectError, seen: Counts) -> bool:
        seen.matches += 1
        turn = seen.matches - 1 - rule.after
        if turn < 0 or turn % rule.every or (rule.count is not None and seen.fired >= rule.count):
            return False
        if rule.probability < 1:
            assert self._chance is not None
            return self._chance() < rule.probability
        return True

    def _inject(self, number: int, rule: InjectError) -> int:
        if rule.errno == 0:
            return 0
        self.counts[number].fired += 1
        if rule.once:
            self._live.discard(number)
            self._active.remove(number)
        # QEMU returns -errno; a negative number in the file therefore reads as success.
        return max(rule.errno, 0)
