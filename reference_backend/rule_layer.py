"""The layer for fault rules; it does nothing until a rule is armed.

The rule language is in the package injectors, which this package does not import: it is loaded by
name for the first command or rules file. Until then, and while no rule is armed, requests bypass
the layer. Rules that are armed later also apply to connections that are open already.
"""

from __future__ import annotations

import errno
import importlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Layer, Reply, Request
from reference_backend.blocking_requests import is_abandoned
from reference_backend.events import Events

MODULE = "injectors.layer"
COMMANDS = ("rule-add", "rule-load", "rule-change", "rule-del", "query-rules", "set-rule-state",
            "rule-resume")  # fmt: skip
"""Commands of the control socket for rules; injectors/rules/commands.py describes each."""
CHECK_S = 0.05
"""Seconds between two checks whether the client of a waiting request is still connected."""
NO_PASSES: Mapping[Command, Callable[[int, int], bool]] = {}


class RuleLayer:
    """A layer that passes requests to the rules.

    It has the attributes of blockio.layers. They are plain attributes, written when rules change,
    because each batch of requests reads them.

    :param seed: the seed of all random decisions.
    :param on_pause: called in the thread of a request that is about to wait.
    """

    def __init__(self, seed: int = 0, on_pause: Callable[[], None] | None = None) -> None:
        self._on_pause = on_pause
        self._events: Events | None = None
        self._seed = seed
        self._rules: Any = None
        self.active = False
        self.waits = False
        self.pauses = False
        self.passes: Mapping[Command, Callable[[int, int], bool]] = NO_PASSES

    def handle(self, request: Request, below: Below) -> Reply:
        """Let the rules answer, or the layer below if there are no rules.

        :raise BlockError: a rule or a layer below raised it.
        """
        rules: Layer | None = self._rules
        return below(request) if rules is None else rules.handle(request, below)

    def load(self, text: str, source: str) -> None:
        """Arm the rules of a YAML text.

        :raise ValueError: the text is wrong; the message names ``source``, line and key.
        """
        self._loaded().load(text, source)

    def control_commands(self, events: Events) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Return the commands of the control socket; the first call of one loads the rule language.

        :param events: receives FAULT_INJECTED.
        """
        self._events = events
        return {name: self._command(name) for name in COMMANDS}

    def _command(self, name: str) -> Callable[[dict[str, Any]], Any]:
        def run(arguments: dict[str, Any]) -> Any:
            return self._loaded().commands()[name](arguments)

        return run

    def disarm(self) -> None:
        """Disarm all rules and release all held requests. Call this before the server stops."""
        if self._rules is not None:
            self._rules.clear()

    def _refresh(self) -> None:
        """Copy the attributes of the rules; called after each change of them."""
        rules = self._rules
        self.waits = rules.waits
        self.pauses = rules.waits and self._on_pause is not None
        self.passes = rules.passes
        self.active = rules.active

    def _emit(self, name: str, data: dict[str, Any]) -> None:
        if self._events is not None:
            self._events.emit(name, **data)

    def _sleep(self, gate: threading.Event, seconds: float) -> None:
        assert self._on_pause is not None
        self._on_pause()
        deadline = time.monotonic() + seconds
        while not gate.wait(max(0.0, min(CHECK_S, deadline - time.monotonic()))):
            _drop_if_abandoned()
            if time.monotonic() >= deadline:
                return
        _drop_if_abandoned()

    def _wait(self, gate: threading.Event) -> None:
        assert self._on_pause is not None
        self._on_pause()
        while not gate.wait(CHECK_S):
            _drop_if_abandoned()
        _drop_if_abandoned()

    def _loaded(self) -> Any:
        if self._rules is None:
            rules = importlib.import_module(MODULE).create(None, seed=self._seed)
            rules.on_event = self._emit
            rules.on_change = self._refresh
            if self._on_pause is not None:
                rules.sleep, rules.wait = self._sleep, self._wait
            self._rules = rules
        return self._rules


def _drop_if_abandoned() -> None:
    """Fail a request whose client has left: the client may have sent it again elsewhere.

    :raise BlockError: ESHUTDOWN; no client receives it.
    """
    if is_abandoned():
        raise BlockError(errno.ESHUTDOWN, "the client is gone")
