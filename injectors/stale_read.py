"""``action: stale``: a read returns the data from before the last write.

    - {event: read_aio, action: stale, iotype: read}

Each sector that was written since the rule was added reads as before its last write, like a cache
that missed the write. The stored data stays right. Other sectors are read correctly.

``remember``: number of sectors of 512 bytes, written last, whose old data is kept; 65536 (32 MiB)
by default.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from injectors.rules.events import IoType
from injectors.rules.fault import CHANGING_COMMANDS, SECTOR, Call, Fault


class Past:
    """The 512 bytes of each sector from before its last write, by number of the sector."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sectors: OrderedDict[int, bytes] = OrderedDict()


@dataclass(frozen=True)
class StaleRead(Fault):
    """Return the data from before the last write."""

    action: ClassVar[str] = "stale"
    hurts: ClassVar[frozenset[IoType]] = frozenset({IoType.READ})
    watches: ClassVar[bool] = True
    remember: int = 65536

    def __post_init__(self) -> None:
        if self.remember < 1:
            raise ValueError("remember must be at least 1 sector")

    def describe(self) -> str:
        """Describe the fault."""
        return "returns the data from before the last write of each sector"

    def new_memory(self) -> Past:
        """Return a memory without sectors."""
        return Past()

    def applies(self, request: Request, memory: Past) -> bool:
        """Return whether the rule remembers a sector of this read."""
        if request.command is not Command.READ:
            return False
        with memory.lock:
            wanted = _whole(request, 1 << 62)
            if len(wanted) < len(memory.sectors):
                return any(sector in memory.sectors for sector in wanted)
            return any(sector in wanted for sector in memory.sectors)

    def before(self, request: Request, below: Below, memory: Past) -> None:
        """Keep the data that a request is about to change."""
        if request.command not in CHANGING_COMMANDS:
            return
        changed = _whole(request, self.remember)
        if not changed:
            return
        offset, length = changed.start * SECTOR, len(changed) * SECTOR
        ask = Request(Command.READ, 0, offset, length, 0, connection=request.connection)
        try:
            reply = below(ask)
        except BlockError:
            return
        if reply.error:
            return
        data = bytes(reply.data)
        with memory.lock:
            for number, sector in enumerate(changed):
                memory.sectors[sector] = data[number * SECTOR : (number + 1) * SECTOR]
                memory.sectors.move_to_end(sector)
            while len(memory.sectors) > self.remember:
                memory.sectors.popitem(last=False)

    def inject(self, call: Call) -> Reply:
        """Read, and replace remembered sectors with their old data."""
        reply = call.below(call.request)
        if reply.error:
            return reply
        data, memory = bytearray(reply.data), call.memory
        with memory.lock:
            for sector in _whole(call.request, 1 << 62):
                if sector in memory.sectors:
                    place = sector * SECTOR - call.request.offset
                    data[place : place + SECTOR] = memory.sectors[sector]
        reply.data = bytes(data)
        return reply


def _whole(request: Request, most: int) -> range:
    """Return the first ``most`` sectors that lie completely in a request."""
    first = -(-request.offset // SECTOR)
    last = (request.offset + request.length) // SECTOR
    return range(first, max(first, min(last, first + most)))
