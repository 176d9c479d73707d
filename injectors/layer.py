"""The rules as a layer of a server or proxy.

    layer = create("rules: [{event: write_aio, errno: ENOSPC}]", seed=7)
    reply = layer.handle(request, below)

Events that a request fires here; docs/blkdebug-events.md has those of QEMU. A raw node above
blkdebug fires the same events in the same order:

    READ, CACHE     read_aio
    WRITE           write_aio, pwritev, then pwritev_done
    WRITE_ZEROES    pwritev_zero, then pwritev_done
    FLUSH           flush_to_os, flush_to_disk
    TRIM            none of its own: use event none with iotype discard
    BLOCK_STATUS    none of its own: use event none with iotype block-status

The fault is decided after the events before the request, and before `pwritev_done`. That event
fires after the request, whether it failed or not, as in QEMU. The events before a request and its
decision are one atomic step for all connections.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from blockio.layers import Below, Command, Reply, Request
from injectors.rules import chance
from injectors.rules.commands import commands_of
from injectors.rules.engine import Armed, Arms, Engine
from injectors.rules.events import IoType
from injectors.rules.fast_path import Passer, passer
from injectors.rules.fault import Call
from injectors.rules.fields import (
    CONDITIONS,
    normal_keys,
    rule_from,
    state_to_mapping,
    to_mapping,
)
from injectors.rules.model import Rule, RuleSet

FIRED = "FAULT_INJECTED"
"""Name of the event that reports a fault."""

_BEFORE: dict[Command, tuple[IoType, tuple[str, ...]]] = {
    Command.READ: (IoType.READ, ("read_aio",)),
    Command.CACHE: (IoType.READ, ("read_aio",)),
    Command.WRITE: (IoType.WRITE, ("write_aio", "pwritev")),
    Command.WRITE_ZEROES: (IoType.WRITE_ZEROES, ("pwritev_zero",)),
    Command.FLUSH: (IoType.FLUSH, ("flush_to_os", "flush_to_disk")),
    Command.TRIM: (IoType.DISCARD, ()),
    Command.BLOCK_STATUS: (IoType.BLOCK_STATUS, ()),
}
UsedEvents = tuple[IoType, tuple[str, ...], str | None, Arms | None, int]
"""The kind of a command, the events before and after it that a rule uses, and the rules that the
events before it arm, which are valid for one version of the engine."""
_AFTER = {Command.WRITE: "pwritev_done", Command.WRITE_ZEROES: "pwritev_done"}


def events_of_command() -> list[tuple[str, str, tuple[str, ...], str | None]]:
    """Return each command with its iotype, the events before its decision, and the one after."""
    return [
        (command.name, iotype.value, events, _AFTER.get(command))
        for command, (iotype, events) in _BEFORE.items()
    ]


def create(rules_text: str | None, *, seed: int, source: str = "rules.yaml") -> RuleLayer:
    """Return a layer with the rules of a text, or without rules.

    :param seed: seed of probabilities and choices, unless the text has one. :param source: name
        of the text in errors.
    :raise ValueError: the text is wrong; names line and key, and what is allowed.
    """
    layer = RuleLayer(seed)
    if rules_text is not None:
        layer.load(rules_text, source)
    return layer


class RuleLayer:
    """A layer that injects the faults of its rules. Safe to use from many threads.

    ``active`` is False while no rule can be armed: requests may bypass the layer. ``passes`` has
    functions that return whether a single request may bypass it (blockio.layers). ``waits`` is True
    while there is a rule that can delay a request. ``on_event``, if set, is called with
    "FAULT_INJECTED" and its data for each fault, before the fault takes effect. ``on_change`` is
    called when these attributes may have changed. ``sleep(gate, seconds)`` waits for this time, or
    until the gate opens; ``wait(gate)`` waits until it opens. A server whose threads must not block
    replaces both.
    """

    def __init__(self, seed: int = 0) -> None:
        self.active = False
        self.waits = False
        self.on_event: Callable[[str, dict[str, Any]], None] | None = None
        self.on_change: Callable[[], None] | None = None
        self.sleep: Callable[[threading.Event, float], None] = _sleep
        self.wait: Callable[[threading.Event], None] = _wait
        self._engine = Engine(seed=seed)
        self._lock = threading.Lock()
        self._gates: dict[Armed, set[threading.Event]] = {}
        self._watchers: tuple[Armed, ...] = ()
        self.passes: dict[Command, Passer] = {}
        self._used_events: dict[Command, UsedEvents] = {}
        self._refresh()

    # -- requests

    def handle(self, request: Request, below: Below) -> Reply:
        """Answer a request, with a fault if a rule decides so.

        :raise BlockError: a layer below failed.
        """
        used = self._used_events.get(request.command)
        if used is None:
            return below(request)
        iotype, events, after, arms, version = used
        engine = self._engine
        offset, length = request.offset, request.length
        armed, number = None, 0
        # Most requests fire no event of a rule and meet no rule: they need no lock.
        if events or engine.may_meet(iotype, offset, length):
            with self._lock:
                if arms is not None and engine.version == version:
                    engine.note(arms)
                else:
                    for event in events:
                        engine.on_event(event)
                armed = engine.decide(iotype, offset, length, request.connection, request)
                if armed is not None:
                    number = armed.fired
        try:
            if armed is None and not self._watchers:
                return below(request)
            return self._meet(armed, number, request, below)
        finally:
            if after is not None:
                with self._lock:
                    engine.on_event(after)

    def _meet(self, armed: Armed | None, number: int, request: Request, below: Below) -> Reply:
        """Answer a request that a rule has chosen, or that a rule watches."""
        watchers = self._watchers
        for one in watchers:
            one.rule.fault.before(request, below, one.memory)
        try:
            return below(request) if armed is None else self._inject(armed, number, request, below)
        finally:
            for one in watchers:
                one.rule.fault.after(request, one.memory)

    def _inject(self, armed: Armed, number: int, request: Request, below: Below) -> Reply:
        if not armed.live:
            with self._lock:
                self._refresh()
        if self.on_event is not None:
            self.on_event(FIRED, _event_data(armed, number, request))
        call = Call(
            request,
            below,
            chance.drawer(self._engine.seed, armed.serial, "choice", number),
            armed.memory,
            lambda seconds: self._pause(armed, lambda gate: self.sleep(gate, seconds)),
            lambda: self._pause(armed, self.wait),
        )
        return armed.rule.fault.inject(call)

    def _pause(self, armed: Armed, wait: Callable[[threading.Event], None]) -> None:
        gate = threading.Event()
        with self._lock:
            if armed not in self._engine.rules:
                return
            gates = self._gates.setdefault(armed, set())
            gates.add(gate)
        try:
            wait(gate)
        finally:
            with self._lock:
                gates.discard(gate)

    # -- rules

    def load(self, text: str, source: str = "rules.yaml") -> list[str]:
        """Append the rules and changes of state of a text; return the ids of the rules.

        The text may have any form that `injectors.rules.files` knows.

        :raise ValueError: the text is wrong; names line and key, and what is allowed.
        """
        from injectors.rules import files

        return self.add(files.read(text, source))

    def add(self, rules: RuleSet) -> list[str]:
        """Append rules and changes of state; return the ids of the rules.

        :raise ValueError: an id is in use; nothing was added.
        """
        with self._lock:
            added = self._engine.load(rules)
            self._refresh()
            return [armed.id for armed in added]

    def change(self, identity: str, values: Mapping[str, Any]) -> None:
        """Change keys of a rule, and restart its counts at 0; None resets a key to its default.

        :raise ValueError: no such rule, or a key or value is wrong.
        """
        with self._lock:
            old = self._engine.find(identity)
            new = self._engine.change(identity, _changed(old.rule, values))
            self._release(old)
            if (gates := self._gates.pop(old, None)) is not None:
                self._gates[new] = gates
            self._refresh()
        old.rule.fault.release(old.memory)

    def remove(self, identity: str) -> dict[str, Any]:
        """Remove a rule, release the requests that it holds, and return its counts.

        :raise ValueError: no such rule.
        """
        with self._lock:
            armed = self._engine.find(identity)
            counts = self._describe(armed)
            self._engine.remove(identity)
            self._release(armed)
            self._refresh()
        armed.rule.fault.release(armed.memory)
        return counts

    def clear(self) -> list[dict[str, Any]]:
        """Remove all rules and changes of state, return to state 1, and return the counts.

        This releases all held requests: call it also before a server stops.
        """
        with self._lock:
            counts = [self._describe(armed) for armed in self._engine.rules]
            removed = self._engine.clear()
            for armed in removed:
                self._release(armed)
            self._refresh()
        for armed in removed:
            armed.rule.fault.release(armed.memory)
        return counts

    def resume(self, identity: str | None = None) -> int:
        """Release the requests that a rule holds, or all held requests; return their number.

        :raise ValueError: no such rule.
        """
        with self._lock:
            chosen = self._engine.rules if identity is None else [self._engine.find(identity)]
            return sum(self._release(armed) for armed in chosen)

    def describe(self) -> dict[str, Any]:
        """Return state, seed, rules with their counts, and changes of state, as plain values."""
        with self._lock:
            return {
                "state": self._engine.state,
                "seed": self._engine.seed,
                "rules": [self._describe(armed) for armed in self._engine.rules],
                "states": [state_to_mapping(change) for change in self._engine.states],
            }

    def set_state(self, state: int) -> None:
        """Set the state, as a change of state does.

        :raise ValueError: the state is below 0.
        """
        if state < 0:
            raise ValueError(f"state {state} is below 0")
        with self._lock:
            self._engine.state = state

    def commands(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Return the commands of the control socket, by name."""
        return commands_of(self)

    def _release(self, armed: Armed) -> int:
        gates = self._gates.get(armed, set())
        for gate in gates:
            gate.set()
        return len(gates)

    def _refresh(self) -> None:
        rules = self._engine.rules
        is_used = self._engine.is_used
        self._used_events = {
            command: (
                iotype,
                tuple(event for event in events if is_used(event)),
                next((event for event in [_AFTER.get(command)] if event and is_used(event)), None),
                self._engine.arms(events),
                self._engine.version,
            )
            for command, (iotype, events) in _BEFORE.items()
        }
        self._watchers = tuple(one for one in rules if one.rule.fault.watches)
        self.active = self._engine.active or bool(self._watchers)
        self.waits = any(one.live and one.rule.fault.waits for one in rules)
        # A rule that watches must see every request: none may bypass the layer.
        self.passes = {} if self._watchers else self._passers()
        self._gates = {one: gates for one, gates in self._gates.items() if gates}
        if self.on_change is not None:
            self.on_change()

    def _passers(self) -> dict[Command, Passer]:
        found = {}
        for command, (iotype, events, after, *_) in self._used_events.items():
            passes = passer(self._engine, self._lock, iotype, events) if after is None else None
            if passes is not None:
                found[command] = passes
        return found

    def _describe(self, armed: Armed) -> dict[str, Any]:
        counts = self._engine.counts(armed)
        return {
            "id": armed.id,
            "rule": to_mapping(armed.rule),
            "events": counts.events,
            "matches": counts.matches,
            "fired": counts.fired,
            "live": armed.live,
            "held": len(self._gates.get(armed, ())),
        }


def _changed(rule: Rule, values: Mapping[str, Any]) -> Rule:
    given = normal_keys(values)
    now = to_mapping(rule)
    if "action" in given:
        now = {key: value for key, value in now.items() if key in CONDITIONS}
    for one, other in (("sector", "offset"), ("offset", "sector"), ("once", "count")):
        if one in given:
            now.pop(other, None)
    now |= given
    return rule_from({key: value for key, value in now.items() if value is not None})


def _event_data(armed: Armed, number: int, request: Request) -> dict[str, Any]:
    return {
        "rule": armed.id,
        "action": armed.rule.fault.action,
        "event": armed.rule.event,
        "fired": number,
        "command": request.command.name,
        "offset": request.offset,
        "length": request.length,
        "connection": request.connection,
    }


def _sleep(gate: threading.Event, seconds: float) -> None:
    gate.wait(seconds)


def _wait(gate: threading.Event) -> None:
    gate.wait()
