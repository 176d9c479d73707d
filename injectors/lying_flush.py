"""``action: lie``: a flush, or the FUA of a write, does nothing and is acknowledged.

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
    """Promise durability, and do not give it."""

    action: ClassVar[str] = "lie"
    hurts: ClassVar[frozenset[IoType]] = CHANGING | {IoType.FLUSH}

    def in_words(self) -> str:
        """Say what happens."""
        return "is acknowledged, and nothing is made durable"

    def applies(self, request: Request, memory: Any) -> bool:
        """A flush, or a request with FUA."""
        del memory
        return request.command is Command.FLUSH or bool(request.flags & CommandFlag.FUA)

    def inject(self, call: Call) -> Reply:
        """Leave out what would make data durable."""
        request = call.request
        if request.command is Command.FLUSH:
            return Reply()
        return call.below(with_fields(request, flags=request.flags & ~CommandFlag.FUA))
