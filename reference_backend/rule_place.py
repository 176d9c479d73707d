"""Where rules of faults come into a server: a layer that is empty until somebody arms a rule.

The rule language is a package of its own (injectors), which this one does not know: it is loaded by
name when the first command or file asks for it. Until then, and while no rule is armed, requests
pass the place by. What is armed later meets connections that are open already.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from reference_backend.events import Events
from reference_backend.layers import Below, Command, Layer, Reply, Request

MODULE = "injectors.layer"
COMMANDS = ("rule-add", "rule-load", "rule-change", "rule-del", "query-rules", "set-rule-state",
            "rule-resume")  # fmt: skip
"""What the control socket has for rules; injectors/rules/commands.py describes each."""
NO_PASSES: Mapping[Command, Callable[[int, int], bool]] = {}


class RulePlace:
    """A layer in front of the rules. Its attributes are those of reference_backend.layers.

    :param seed: what chance is drawn from. :param on_pause: called in the thread of a request that
        is about to wait.
    """

    def __init__(self, seed: int = 0, on_pause: Callable[[], None] | None = None) -> None:
        self._on_pause = on_pause
        self._events: Events | None = None
        self._seed = seed
        self._rules: Any = None

    @property
    def active(self) -> bool:
        """Whether a rule is armed."""
        return self._rules is not None and bool(self._rules.active)

    @property
    def waits(self) -> bool:
        """Whether a rule may hold requests back."""
        return self._rules is not None and bool(self._rules.waits)

    @property
    def pauses(self) -> bool:
        """Whether a request may wait here, and tells of it by ``on_pause``."""
        return self._on_pause is not None and self.waits

    @property
    def passes(self) -> Mapping[Command, Callable[[int, int], bool]]:
        """What says of a request that no rule meets it."""
        return NO_PASSES if self._rules is None else self._rules.passes

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

    def _tell(self, name: str, data: dict[str, Any]) -> None:
        if self._events is not None:
            self._events.emit(name, **data)

    def _sleep(self, gate: threading.Event, seconds: float) -> None:
        assert self._on_pause is not None
        self._on_pause()
        gate.wait(seconds)

    def _wait(self, gate: threading.Event) -> None:
        assert self._on_pause is not None
        self._on_pause()
        gate.wait()

    def _loaded(self) -> Any:
        if self._rules is None:
            rules = importlib.import_module(MODULE).create(None, seed=self._seed)
            rules.on_event = self._tell
            if self._on_pause is not None:
                rules.sleep, rules.wait = self._sleep, self._wait
            self._rules = rules
        return self._rules
