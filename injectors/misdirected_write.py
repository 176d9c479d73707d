"""``action: misdirect``: data goes to, or comes from, a wrong place.

    - {event: write_aio, action: misdirect, by: 8, iotype: write, once: true}

``by``: distance from the right place in sectors of 512 bytes, 8 by default; it may be negative. If
that place is outside the volume, the opposite direction is used.

A write leaves the right place unchanged and overwrites another place. A read returns the data of
another place. If the server requires larger blocks than 512 bytes, use a multiple of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from blockio.errors import BlockError
from blockio.layers import Command, Reply, Request
from injectors.rules.events import IoType
from injectors.rules.fault import SECTOR, Call, Fault, with_fields


@dataclass(frozen=True)
class MisdirectedWrite(Fault):
    """Carry out a request ``by`` sectors away from its place."""

    action: ClassVar[str] = "misdirect"
    hurts: ClassVar[frozenset[IoType]] = frozenset({IoType.READ, IoType.WRITE})
    by: int = 8

    def __post_init__(self) -> None:
        if not self.by:
            raise ValueError("by must be a number of sectors other than 0")

    def describe(self) -> str:
        """Describe the fault."""
        side = "before" if self.by < 0 else "behind"
        return f"is carried out {abs(self.by)} sectors {side} its place"

    def applies(self, request: Request, memory: Any) -> bool:
        """Return whether there is data; CACHE counts as a read and has none."""
        del memory
        return request.length > 0 and request.command is not Command.CACHE

    def inject(self, call: Call) -> Reply:
        """Carry the request out at the wrong place, or in the opposite direction."""
        request = call.request
        places = [request.offset + by * SECTOR for by in (self.by, -self.by)]
        inside = [place for place in places if place >= 0]
        for place in inside[:-1]:
            try:
                reply = call.below(with_fields(request, offset=place))
            except BlockError:
                continue
            if not reply.error:
                return reply
        return call.below(with_fields(request, offset=inside[-1]))
