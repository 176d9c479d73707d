"""``action: duplicate``: a request is carried out twice, or answered twice.

    - {event: write_aio, action: duplicate, iotype: write}
    - {event: read_aio, action: duplicate, of: reply, once: true}

``of: request`` (the default): a write, write-zeroes or discard is done, and done again after the
next one: a zombie that takes newer data back if it touches the same bytes.
``of: reply``: the reply is sent twice; the client must not take the second for another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from blockio.layers import Reply, Request
from injectors.rules.deferred import Held
from injectors.rules.fault import CHANGING_COMMANDS, Call, Fault, rewire


@dataclass(frozen=True)
class Duplicate(Fault):
    """Do it, or say it, twice."""

    action: ClassVar[str] = "duplicate"
    watches: ClassVar[bool] = True
    of: Literal["request", "reply"] = "request"

    def in_words(self) -> str:
        """Say what happens."""
        if self.of == "reply":
            return "is answered twice"
        return "is carried out, and once more after the next one"

    def new_memory(self) -> Held:
        """Nothing is held yet."""
        return Held()

    def applies(self, request: Request, memory: Held) -> bool:
        """Any reply; a request that changes something, one at a time."""
        if self.of == "reply":
            return True
        return request.command in CHANGING_COMMANDS and not memory.requests

    def inject(self, call: Call) -> Reply:
        """Answer twice, or answer and keep the request for later."""
        if self.of == "reply":
            return rewire(call.carry_out(), lambda raw: (raw + raw, True))
        reply = call.below(call.request)
        call.memory.hold(call.request, call.below)
        return reply

    def after(self, request: Request, memory: Held) -> None:
        """Let the zombie go after the next change."""
        if request.command in CHANGING_COMMANDS:
            memory.carry_out(but=request)

    def release(self, memory: Any) -> None:
        """Forget the zombie: to heal must not do harm."""
        memory.forget()
