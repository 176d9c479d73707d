"""Maps of extents: split nodes, indexes that wrap, magic numbers (docs/bugs.md)."""

from __future__ import annotations

from bisect import insort

from blockio.layers import Below, Command, Reply, Request
from mutants.mutant import BLOCK, ReplyMutant, RequestMutant, blocks, changed

_UNIT = 65536
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class MapSplitLosesEntry(ReplyMutant):
    """A node of a tree loses its middle entry when it is split in the middle."""

    id = "map-split-loses-entry"
    shows = ("zeroed", "lost write")
    source = "class known from trees of extents"
    breaks = (
        "when the 33rd, 65th... 64 KiB unit is first written below others, a unit reads as zeroes"
    )
    commands = (Command.READ,)
    NODE = 32

    def install(self) -> None:
        """Start with an empty tree."""
        self._units: list[int] = []
        self._known: set[int] = set()
        self._lost: set[int] = set()

    def observe(self, request: Request) -> None:
        """Insert the units of a write."""
        if request.command is not Command.WRITE:
            return
        for unit in blocks(request.offset, request.length, _UNIT):
            self._lost.discard(unit)
            if unit in self._known:
                continue
            is_append = not self._units or unit > self._units[-1]
            self._known.add(unit)
            insort(self._units, unit)
            if len(self._units) % self.NODE == 1 and len(self._units) > 1 and not is_append:
                self._lost.add(self._units[len(self._units) // 2])

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether a lost unit is read."""
        return not self._lost.isdisjoint(blocks(request.offset, request.length, _UNIT))

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Replace lost units with zeroes."""
        data = bytearray(reply.data)
        for unit in self._lost.intersection(blocks(request.offset, request.length, _UNIT)):
            start = max(unit * _UNIT - request.offset, 0)
            stop = min((unit + 1) * _UNIT - request.offset, len(data))
            data[start:stop] = bytes(stop - start)
        reply.data = bytes(data)


class MapIndexWraps(RequestMutant):
    """The index of a chunk is cut to 10 bits on one path."""

    id = "map-index-wraps"
    shows = ("misplaced data", "lost write")
    source = "SPDK 9366d22de1 (a wrong index of the map of chunks)"
    breaks = "a write across a 64 KiB boundary behind 64 MiB goes to its offset modulo 64 MiB"
    commands = (Command.WRITE,)
    SPAN = 1024 * _UNIT

    def damages(self, request: Request) -> bool:
        """Return whether two chunks are touched, the first one with a large index."""
        first, last = request.offset, request.offset + request.length - 1
        return first >= self.SPAN and first // _UNIT != last // _UNIT

    def damage(self, request: Request, below: Below) -> Reply:
        """Wrap the index."""
        return below(changed(request, offset=request.offset % self.SPAN))


class MapMagicIndexIsEmpty(RequestMutant):
    """The largest 32-bit index means that nothing is mapped."""

    id = "map-magic-index-is-empty"
    shows = ("zeroed", "lost write")
    source = "SPDK 73f18e8900"
    breaks = "the block of 4 KiB with the number 2^32-1, below 16 TiB, reads as zeroes"
    commands = (Command.READ,)
    AT = ((1 << 32) - 1) * BLOCK

    def damages(self, request: Request) -> bool:
        """Return whether the block is read."""
        return request.offset < self.AT + BLOCK and request.offset + request.length > self.AT

    def damage(self, request: Request, below: Below) -> Reply:
        """Return zeroes for the block."""
        reply = below(request)
        data = bytearray(reply.data)
        start = max(self.AT - request.offset, 0)
        stop = min(self.AT + BLOCK - request.offset, len(data))
        data[start:stop] = bytes(stop - start)
        reply.data = bytes(data)
        return reply
