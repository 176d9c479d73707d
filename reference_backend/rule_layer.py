"""Where rules of faults come into a server: a layer that is empty until somebody arms a rule.

The rule language is a package of its own (injectors), which this one does not know: it is loaded by
name when the first command or file asks for it. Until then, and while no rule is armed, requests
pass the place by. What is armed later meets connections that are open already.
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
"""What the control socket has for rules; injectors/rules/commands.py describes each."""
LOOK_S = 0.05
"""Seconds between two looks whether the client of a request that waits is still there."""
NO_PASSES: Mapping[Command, Callable[[int, int], bool]] = {}


class RulePlace:
    """A layer in front of the rules. Its attributes are those of blockio.layers; they are
    plain ones, written when rules change, for they are read with each batch of requests.

    :param seed: what chance is drawn from. :param on_pause: called in the thread of a request that
        is about to wait.
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
        """Let the rules answer, or what is below.

        :raise BlockError: as the layers beneath do.
        """
        rules: Layer | None = self._rules
        return below(request) if rules is None else rules.handle(request, below)

    def load(self, text: str, source: str) -> None:
        """Arm the rules of a YAML text.

        :raise ValueError: it is wrong; names ``source``, line and key.
        """
        self._loaded().load(text, source)

    def control_commands(self, events: Events) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Return the commands of the control socket; the first one loads the rule language.

        :param events: where FAULT_INJECTED goes.
        """
        self._events = events
        return {name: self._command(name) for name in COMMANDS}

    def _command(self, name: str) -> Callable[[dict[str, Any]], Any]:
        def run(arguments: dict[str, Any]) -> Any:
            return self._loaded().commands()[name](arguments)

        return run

    def let_go(self) -> None:
        """Disarm everything: no request is held any more. To be called before a server stops."""
        if self._rules is not None:
            self._rules.clear()

    def _follow(self) -> None:
        """Take over what the rules say of themselves; called whenever they have changed."""
        rules = self._rules
        self.waits = rules.waits
        self.pauses = rules.waits and self._on_pause is not None
        self.passes = rules.passes
        self.active = rules.active

    def _tell(self, name: str, data: dict[str, Any]) -> None:
        if self._events is not None:
            self._events.emit(name, **data)

    def _sleep(self, gate: threading.Event, seconds: float) -> None:
        assert self._on_pause is not None
        self._on_pause()
        deadline = time.monotonic() + seconds
        while not gate.wait(max(0.0, min(LOOK_S, deadline - time.monotonic()))):
            _drop_if_abandoned()
            if time.monotonic() >= deadline:
                return
        _drop_if_abandoned()

    def _wait(self, gate: threading.Event) -> None:
        assert self._on_pause is not None
        self._on_pause()
        while not gate.wait(LOOK_S):
            _drop_if_abandoned()
        _drop_if_abandoned()

    def _loaded(self) -> Any:
        if self._rules is None:
            rules = importlib.import_module(MODULE).create(None, seed=self._seed)
            rules.on_event = self._tell
            rules.on_change = self._follow
            if self._on_pause is not None:
                rules.sleep, rules.wait = self._sleep, self._wait
            self._rules = rules
        return self._rules


def _drop_if_abandoned() -> None:
    """Refuse to go on with a request whose client has gone: it may have asked somebody else since.

    :raise BlockError: ESHUTDOWN, which nobody is there to see.
    """
    if is_abandoned():
        raise BlockError(errno.ESHUTDOWN, "the client is gone")
