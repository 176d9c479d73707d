"""``action: reorder``: a write is acknowledged, and carried out after the next one.

    - {event: write_aio, action: reorder, iotype: write}

The write is held until the next write, write-zeroes or discard is carried out. If both touch the
same bytes, the older data replaces the newer data: an update is lost. Reads, block-status requests
and flushes carry the held write out first, so they see the right data.

``past_flush: true``: a flush does not end the hold, and writes with FUA are held too, so that data
acknowledged as durable is not.
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
    """Carry a write out after the next one."""

    action: ClassVar[str] = "reorder"
    hurts: ClassVar[frozenset[IoType]] = CHANGING
    watches: ClassVar[bool] = True
    past_flush: bool = False

    def describe(self) -> str:
        """Describe the fault."""
        flush = ", even across flushes" if self.past_flush else ""
        return f"is acknowledged, and carried out after the next one{flush}"

    def new_memory(self) -> Held:
        """Return an empty list of held requests."""
        return Held()

    def applies(self, request: Request, memory: Held) -> bool:
        """Return whether no write is held; a write with FUA is held only with ``past_flush``."""
        durable = bool(request.flags & CommandFlag.FUA) and not self.past_flush
        return not memory.requests and not durable

    def inject(self, call: Call) -> Reply:
        """Acknowledge the write, and hold it."""
        call.memory.hold(call.request, call.below)
        return Reply()

    def before(self, request: Request, below: Below, memory: Held) -> None:
        """End the hold before a request that must see the write."""
        del below
        ignored = request.command is Command.FLUSH and self.past_flush
        if request.command not in CHANGING_COMMANDS and not ignored:
            memory.carry_out()

    def after(self, request: Request, memory: Held) -> None:
        """End the hold after the next change."""
        if request.command in CHANGING_COMMANDS:
            memory.carry_out(but=request)

    def release(self, memory: Any) -> None:
        """Carry out the held write."""
        memory.carry_out()
