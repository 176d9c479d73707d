"""Caches: eviction, prefetch, hints, requests that bypass them (docs/bugs.md)."""

from __future__ import annotations

from collections import OrderedDict, deque

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.mutant import BLOCK, Mutant, RequestMutant, blocks, read, whole_blocks, write

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_LINE = 65536
MIB = 1 << 20


class EvictionRestoresOld(Mutant):
    """A block that is written while it is evicted loses its dirty bit."""

    id = "eviction-restores-old"
    shows = ("lost write", "misplaced data", "torn")
    source = "class known from write-back caches (Open-CAS 312b32ad tracks such requests)"
    breaks = "a block of 4 KiB written twice in a row returns to its first version 64 writes later"
    commands = (Command.WRITE,)
    LATER = 64

    def install(self) -> None:
        """Start with no block written."""
        self._last: tuple[int, bytes] = (-1, b"")
        self._queue: deque[tuple[int, int, bytes]] = deque()
        self._count = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Restore the first of two versions later, unless the block has changed again."""
        with self._lock:
            if request.command in _CHANGES:
                touched = set(blocks(request.offset, min(request.length, 1 << 26)))
                self._queue = deque(one for one in self._queue if one[1] not in touched)
            if request.command is Command.WRITE:
                self._count += 1
                self._evict(request, below)
                is_block = request.length == BLOCK and request.offset % BLOCK == 0
                number, first = self._last
                if is_block and number * BLOCK == request.offset and first != request.payload:
                    self._queue.append((self._count + self.LATER, number, first))
                self._last = (-1, b"")
                if is_block:
                    self._last = request.offset // BLOCK, bytes(request.payload)
            return below(request)

    def _evict(self, request: Request, below: Below) -> None:
        while self._queue and self._queue[0][0] <= self._count:
            _, number, first = self._queue.popleft()
            if self.strikes(request):
                write(request, below, number * BLOCK, first)


class PrefetchHidesWrite(Mutant):
    """What was read ahead is not invalidated by the next write."""

    id = "prefetch-hides-write"
    shows = ("lost write", "misplaced data")
    source = "class known from read-ahead; ubiblk 74e9090 (a fetch that overwrites newer data)"
    breaks = "after two sequential reads, a write to the next 64 KiB is not seen by the third read"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start without a stream."""
        self._end = -1
        self._ahead: tuple[int, bytes] | None = None

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Answer the third sequential read from what was read ahead."""
        if request.command is not Command.READ:
            return below(request)
        with self._lock:
            ahead, self._ahead = self._ahead, None
            reply = below(request)
            if ahead is not None and ahead[0] == request.offset:
                data = bytes(reply.data)
                old = ahead[1][: len(data)]
                if data[: len(old)] != old and self.strikes(request):
                    reply.data = old + data[len(old) :]
            end = request.offset + request.length
            if request.offset == self._end:
                try:
                    self._ahead = end, read(request, below, end, _LINE)
                except BlockError:
                    self._ahead = None
            self._end = end
            return reply


class _ReadCache(Mutant):
    """A read cache of 256 blocks that some changes do not invalidate."""

    commands = (Command.READ,)
    MOST = 256
    fills: tuple[Command, ...] = (Command.READ,)

    def install(self) -> None:
        """Start with an empty cache."""
        self._cache: OrderedDict[int, bytes] = OrderedDict()

    def seen(self, request: Request) -> range:
        """Return the blocks that a change invalidates."""
        return blocks(request.offset, min(request.length, 1 << 30))

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Answer small reads from the cache."""
        with self._lock:
            reply = below(request)
            if request.command in _CHANGES:
                seen = self.seen(request)
                for number in [one for one in self._cache if one in seen]:
                    del self._cache[number]
            elif request.command is Command.READ and request.length <= _LINE:
                self._answer(request, reply)
            if request.command in self.fills and request.length <= _LINE:
                self._fill(request, below)
            return reply

    def _answer(self, request: Request, reply: Reply) -> None:
        data = bytearray(reply.data)
        for number in whole_blocks(request.offset, request.length):
            if number in self._cache:
                at = number * BLOCK - request.offset
                data[at : at + BLOCK] = self._cache[number]
        if data != reply.data and self.strikes(request):
            reply.data = bytes(data)

    def _fill(self, request: Request, below: Below) -> None:
        for number in whole_blocks(request.offset, request.length):
            if number not in self._cache:
                self._cache[number] = read(request, below, number * BLOCK, BLOCK)
        while len(self._cache) > self.MOST:
            self._cache.popitem(last=False)


class CacheHintHidesFua(_ReadCache):
    """A write with FUA bypasses the cache that a hint filled."""

    id = "cache-hint-hides-fua"
    shows = ("lost write", "misplaced data")
    source = "class known from caches with a write-through path"
    breaks = "what CACHE loaded is still read after a write with FUA to it"
    fills = (Command.CACHE,)

    def seen(self, request: Request) -> range:
        """Return nothing for a write with FUA."""
        is_fua = request.command is Command.WRITE and request.flags & CommandFlag.FUA
        return range(0) if is_fua else super().seen(request)


class LargeWriteBypassesCache(_ReadCache):
    """A long write goes around the cache and does not invalidate it."""

    id = "large-write-bypasses-cache"
    shows = ("lost write", "misplaced data")
    source = "class known from caches with a cut-off for sequential writes (Open-CAS)"
    breaks = "blocks that were read are still read after a write of 1 MiB and more over them"

    def seen(self, request: Request) -> range:
        """Return nothing for a long write."""
        is_long = request.command is Command.WRITE and request.length >= MIB
        return range(0) if is_long else super().seen(request)


class ZeroesInvalidateInPart(_ReadCache):
    """Invalidation stops after one table of blocks."""

    id = "zeroes-invalidate-in-part"
    shows = ("missing zeroes", "lost write", "misplaced data")
    says = r"not zero"
    source = "class known from invalidation in batches"
    breaks = (
        "zeroes over more than 2 MiB are seen in their first 2 MiB; behind, old reads are repeated"
    )

    def seen(self, request: Request) -> range:
        """Return at most 512 blocks of zeroes."""
        seen = super().seen(request)
        return seen[:512] if request.command is Command.WRITE_ZEROES else seen


class ResyncOverwritesNewer(RequestMutant):
    """A copy in the background writes back what it read before a newer write."""

    id = "resync-overwrites-newer"
    shows = ("lost write", "misplaced data")
    source = "ubiblk 74e9090 (a stripe that is fetched twice)"
    breaks = (
        "every 32nd write to a 64 KiB unit is undone by a copy of the unit that was read before it"
    )
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without a copy."""
        self._count = 0
        self._copy: tuple[int, bytes, int] | None = None

    def damages(self, request: Request) -> bool:
        """Return whether a copy runs now."""
        self._count += 1
        return self._count % 32 == 0 and self._copy is None and request.length <= _LINE

    def damage(self, request: Request, below: Below) -> Reply:
        """Read what is there, and write it back three requests later."""
        old = read(request, below, request.offset, request.length)
        self._copy = request.offset, old, 3
        return below(request)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Finish the copy when its time has come."""
        with self._lock:
            if self._copy is not None:
                offset, old, left = self._copy
                self._copy = (offset, old, left - 1) if left else None
                if not left:
                    write(request, below, offset, old)
            return super().carry_out(request, below)
