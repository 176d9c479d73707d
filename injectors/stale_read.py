"""``action: stale``: a read returns what was there before the last write.

    - {event: read_aio, action: stale, iotype: read}

Each sector that was written since the rule was added is answered with what it had before its last
write, as a cache does that missed it. What is stored stays right. A read of sectors that nobody
wrote since is not hurt.

``remember``: of how many sectors of 512 bytes, the latest written; 65536 (32 MiB) if not given.
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
    """What sectors had before their last write: number of the sector, and 512 bytes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sectors: OrderedDict[int, bytes] = OrderedDict()


@dataclass(frozen=True)
class StaleRead(Fault):
    """Answer with the generation before."""

    action: ClassVar[str] = "stale"
    hurts: ClassVar[frozenset[IoType]] = frozenset({IoType.READ})
    watches: ClassVar[bool] = True
    remember: int = 65536

    def __post_init__(self) -> None:
        if self.remember < 1:
            raise ValueError("remember is at least 1 sector")

    def in_words(self) -> str:
        """Say what happens."""
        return "is answered with what its sectors had before their last write"

    def new_memory(self) -> Past:
        """Nothing was written yet."""
        return Past()

    def applies(self, request: Request, memory: Past) -> bool:
        """A sector of it was written since."""
        if request.command is not Command.READ:
            return False
        with memory.lock:
            wanted = _whole(request, 1 << 62)
            if len(wanted) < len(memory.sectors):
                return any(sector in memory.sectors for sector in wanted)
            return any(sector in wanted for sector in memory.sectors)

    def before(self, request: Request, below: Below, memory: Past) -> None:
        """Keep what a request is about to change."""
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
        """Read, and put the past in the place of the present."""
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
    """Return the sectors that lie whole in a request, the first ``most`` of them."""
    first = -(-request.offset // SECTOR)
    last = (request.offset + request.length) // SECTOR
    return range(first, max(first, min(last, first + most)))
