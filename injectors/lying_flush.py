"""``action: lie``: a flush, or the FUA of a write, has no effect and is acknowledged.

    - {event: flush_to_disk, action: lie}
    - {event: write_aio, action: lie, iotype: write}

A flush is not carried out. A write with FUA is carried out without it, so that its data stays in
the volatile cache. Only a power cut shows the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from blockio.layers import Command, CommandFlag, Reply, Request
from injectors.rules.events import IoType
from injectors.rules.fault import CHANGING, Call, Fault, with_fields


@dataclass(frozen=True)
class LyingFlush(Fault):
    """Acknowledge data as durable that is not."""

    action: ClassVar[str] = "lie"
    hurts: ClassVar[frozenset[IoType]] = CHANGING | {IoType.FLUSH}

    def describe(self) -> str:
        """Describe the fault."""
        return "is acknowledged, and nothing is made durable"

    def applies(self, request: Request, memory: Any) -> bool:
        """Return whether the request is a flush or has FUA."""
        del memory
        return request.command is Command.FLUSH or bool(request.flags & CommandFlag.FUA)

    def inject(self, call: Call) -> Reply:
        """Skip the flush, or remove FUA."""
        request = call.request
        if request.command is Command.FLUSH:
            return Reply()
        return call.below(with_fields(request, flags=request.flags & ~CommandFlag.FUA))
