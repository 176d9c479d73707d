"""``action: misdirect``: data goes to, or comes from, a wrong place.

    - {event: write_aio, action: misdirect, by: 8, iotype: write, once: true}

``by``: how many sectors of 512 bytes beside the right place; may be negative; 8 if not given. Where
that is outside of the volume, the other direction is taken.

The place meant keeps what it had, and another is overwritten; a read returns another's data. Where
the server wants larger blocks than 512 bytes, give a multiple of these.
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
    """Carry a request out ``by`` sectors beside its place."""

    action: ClassVar[str] = "misdirect"
    hurts: ClassVar[frozenset[IoType]] = frozenset({IoType.READ, IoType.WRITE})
    by: int = 8

    def __post_init__(self) -> None:
        if not self.by:
            raise ValueError("by is a number of sectors, but not 0")

    def in_words(self) -> str:
        """Say what happens."""
        side = "before" if self.by < 0 else "behind"
        return f"is carried out {abs(self.by)} sectors {side} its place"

    def applies(self, request: Request, memory: Any) -> bool:
        """There is data; CACHE, which counts as a read, moves none."""
        del memory
        return request.length > 0 and request.command is not Command.CACHE

    def inject(self, call: Call) -> Reply:
        """Ask for another place; if there is none, for the one on the other side."""
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
