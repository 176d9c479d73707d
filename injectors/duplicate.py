"""``action: duplicate``: a request is carried out twice, or answered twice.

    - {event: write_aio, action: duplicate, iotype: write}
    - {event: read_aio, action: duplicate, of: reply, once: true}

``of: request`` (the default): a write, write-zeroes or discard is carried out, and again after the
next one. If both touch the same bytes, the older data replaces the newer data.
``of: reply``: the reply is sent twice. The client must not use the second one for another request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from blockio.layers import Reply, Request
from injectors.rules.deferred import Held
from injectors.rules.fault import CHANGING_COMMANDS, Call, Fault, rewire


@dataclass(frozen=True)
class Duplicate(Fault):
    """Carry a request out, or answer it, twice."""

    action: ClassVar[str] = "duplicate"
    watches: ClassVar[bool] = True
    of: Literal["request", "reply"] = "request"

    def describe(self) -> str:
        """Describe the fault."""
        if self.of == "reply":
            return "is answered twice"
        return "is carried out, and again after the next one"

    def new_memory(self) -> Held:
        """Return an empty list of held requests."""
        return Held()

    def applies(self, request: Request, memory: Held) -> bool:
        """Return True for any reply, and for one request at a time that changes data."""
        if self.of == "reply":
            return True
        return request.command in CHANGING_COMMANDS and not memory.requests

    def inject(self, call: Call) -> Reply:
        """Answer twice, or carry the request out and hold a copy."""
        if self.of == "reply":
            return rewire(call.carry_out(), lambda raw: (raw + raw, True))
        reply = call.below(call.request)
        call.memory.hold(call.request, call.below)
        return reply

    def after(self, request: Request, memory: Held) -> None:
        """Carry the held copy out after the next change."""
        if request.command in CHANGING_COMMANDS:
            memory.carry_out(but=request)

    def release(self, memory: Any) -> None:
        """Drop the held copy: removing a rule must not damage data."""
        memory.forget()
