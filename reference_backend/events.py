"""Events of a running server, and their subscribers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Subscriber = Callable[[str, dict[str, Any]], None]


class Events:
    """Passes events to subscribers in the thread that emits them; subscribers must not block."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber(name, data)`` for each event from now on."""
        self._subscribers += (subscriber,)

    def emit(self, name: str, /, **data: Any) -> None:
        """Call all subscribers; ``name`` is in capitals, like events of QMP."""
        for subscriber in self._subscribers:
            subscriber(name, data)
