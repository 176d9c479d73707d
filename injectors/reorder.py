"""``action: reorder``: a write is acknowledged, and carried out after the next one.

    - {event: write_aio, action: reorder, iotype: write}

The write is held until the next write, write-zeroes or discard is done. If that touches the same
bytes, the older data wins: the volume lost an update. A read or a block-status ends the hold before
it is answered, so it sees what it should; so does a flush.

``past_flush: true``: a flush does not end the hold, and writes with FUA are held too: what was
promised to be durable is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from injectors.rules.deferred import Held
from injectors.rules.events import IoType
from injectors.rules.fault import CHANGING, CHANGING_COMMANDS, Call, Fault


@dataclass(frozen=True)
class Reorder(Fault):
    """Let the next write overtake this one."""

    action: ClassVar[str] = "reorder"
    hurts: ClassVar[frozenset[IoType]] = CHANGING
    watches: ClassVar[bool] = True
    past_flush: bool = False

    def in_words(self) -> str:
        """Say what happens."""
        flush = ", flushes notwithstanding" if self.past_flush else ""
        return f"is acknowledged, and carried out after the next one{flush}"

    def new_memory(self) -> Held:
        """Nothing is held yet."""
        return Held()

    def applies(self, request: Request, memory: Held) -> bool:
        """One write is held at a time, and one with FUA only past flushes."""
        durable = bool(request.flags & CommandFlag.FUA) and not self.past_flush
        return not memory.requests and not durable

    def inject(self, call: Call) -> Reply:
        """Acknowledge and hold."""
        call.memory.hold(call.request, call.below)
        return Reply()

    def before(self, request: Request, below: Below, memory: Held) -> None:
        """End the hold before what must see the write."""
        del below
        ignored = request.command is Command.FLUSH and self.past_flush
        if request.command not in CHANGING_COMMANDS and not ignored:
            memory.carry_out()

    def after(self, request: Request, memory: Held) -> None:
        """End the hold after what overtakes the write."""
        if request.command in CHANGING_COMMANDS:
            memory.carry_out(but=request)

    def release(self, memory: Any) -> None:
        """Carry out what is held."""
        memory.carry_out()
