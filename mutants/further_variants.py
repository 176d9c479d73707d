"""More variants of kinds for which cases exist (docs/bugs.md).

Each was written after the cases for its family, to see whether they know the property or only the
example.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants import clock
from mutants.barriers import keep_pending
from mutants.connections import on_end
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, ReplyMutant, RequestMutant, blocks, raising, read
from mutants.mutant import changed as changed_request
from mutants.mutant import whole_blocks as whole
from mutants.pacing import hide
from mutants.patching import replace
from reference_backend.store.write_cache import WriteCache

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536
MIB = 1 << 20


class ErrorCachedForUnit(Mutant):
    """An error of one sector is remembered for its whole unit."""

    id = "error-cached-for-unit"
    shows = ("error",)
    says = r"errno"
    source = "variant of bad-block-never-cleared"
    breaks = "after a read that failed with EIO, the next read in the same 64 KiB unit fails too"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start without errors."""
        self._bad: set[int] = set()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note errors, and repeat them once."""
        if request.command is not Command.READ:
            return below(request)
        hit = self._bad.intersection(blocks(request.offset, request.length, _UNIT))
        if hit and self.strikes(request):
            self._bad -= hit
            raise BlockError(errno.EIO, "remembered")
        try:
            return raising(below)(request)
        except BlockError as error:
            if error.errno == errno.EIO:
                self._bad.add(request.offset // _UNIT)
            raise


class FlushSkipsLongWrites(Mutant):
    """Long writes go around the cache, and no flush waits for them."""

    id = "flush-skips-long-writes"
    shows = ("lost write",)
    source = "variant of flush-covers-newest-segment"
    breaks = "a flush does not make writes of 512 KiB and more durable"
    takes = ALWAYS

    def install(self) -> None:
        """Keep long entries pending."""

        def make(real: Any) -> Any:
            def settle(cache: WriteCache, mark: int) -> None:
                count = mark - cache._fallen  # noqa: SLF001  # a mutant changes code
                entries = list(cache._entries)[: max(count, 0)]  # noqa: SLF001
                long = [one for one in entries if MIB // 2 <= one[1] - one[0] <= 4 * MIB]
                real(cache, mark)
                if long and self.strikes():
                    keep_pending(cache, long)

            return settle

        replace(WriteCache, "settle", make)


class SendRingWraps(ReplyMutant):
    """Data that wraps in the ring of sent bytes continues at its own beginning."""

    id = "send-ring-wraps"
    shows = ("misplaced data", "lost write")
    source = "variant of receive-ring-wraps"
    breaks = "the reply with each 8 MiB-th byte of a connection's data repeats its beginning there"
    commands = (Command.READ,)
    RING = 8 * MIB

    def install(self) -> None:
        """Count the bytes of each connection."""
        self._counts: Counter[int] = Counter()
        self._kept = 0
        on_end(lambda number: self._counts.pop(number, None))

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the data wraps."""
        before = self._counts[request.connection] % self.RING
        self._counts[request.connection] += request.length
        self._kept = self.RING - before
        return self._kept < request.length

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Repeat the beginning behind the wrap."""
        data = bytes(reply.data)
        reply.data = (data[: self._kept] + data)[: len(data)]


class VersionOfPartsWraps(RequestMutant):
    """The version of a block that is written in parts has 7 bits."""

    id = "version-of-parts-wraps"
    shows = ("lost write", "misplaced data")
    source = "variant of version-byte-wraps"
    breaks = "the 128th and later writes of a part of one block of 4 KiB are dropped"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with version 0."""
        self._version: Counter[int] = Counter()

    def observe(self, request: Request) -> None:
        """Whole changes begin again."""
        if request.command in _CHANGES:
            inside = whole(request.offset, request.length)
            for number in [one for one in self._version if one in inside]:
                del self._version[number]

    def damages(self, request: Request) -> bool:
        """Return whether the version has wrapped."""
        touched = blocks(request.offset, request.length)
        if len(touched) != 1 or request.length == BLOCK:
            return False
        self._version[touched[0]] += 1
        return self._version[touched[0]] >= 128

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the write."""
        return Reply()


class CombinedZeroesInvisible(Mutant):
    """Zeroes that continue each other are combined in a buffer of their connection."""

    id = "combined-zeroes-invisible"
    shows = ("missing zeroes", "lost write", "misplaced data", "not linearizable")
    says = r"not zero"
    source = "variant of combined-writes-invisible"
    breaks = "zeroes directly behind zeroes are hidden from others until their client sends more"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with nothing combined."""
        self._held: dict[int, tuple[int, bytes]] = {}
        self._ends: dict[int, int] = {}
        on_end(lambda number: self._held.pop(number, None))

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Hide the newest zeroes from reads of other connections."""
        with self._lock:
            whose = request.connection
            is_zero = request.command is Command.WRITE_ZEROES and request.length <= _UNIT
            is_next = is_zero and self._ends.get(whose) == request.offset
            self._ends[whose] = request.offset + request.length if is_zero else -1
            self._held.pop(whose, None)
            if request.command in _CHANGES:
                self._held.clear()
            if is_next:
                old = read(request, below, request.offset, request.length)
                self._held[whose] = request.offset, old
            reply = below(request)
            others = [held for one, held in self._held.items() if one != whose]
            if request.command is Command.READ and others:
                hide(self, request, reply, others)
            return reply


class TieByOffset(RequestMutant):
    """Versions are times in milliseconds, and the lower offset wins a tie."""

    id = "tie-by-offset"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "variant of same-tick-older-wins"
    breaks = "a write that begins inside one of the same millisecond loses what both cover"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without a write."""
        self._last = (0, 0, 0)
        self._cut = 0

    def observe(self, request: Request) -> None:
        """Note the place and the time of each change."""
        if request.command not in _CHANGES:
            return
        tick = int(clock.now_s() * 1000)
        then, start, end = self._last
        is_tie = then == tick and start < request.offset < end and request.length < _UNIT
        self._cut = min(end - request.offset, request.length) if is_tie else 0
        is_write = request.command is Command.WRITE
        self._last = (
            (tick, request.offset, request.offset + request.length) if is_write else (0,) * 3
        )

    def damages(self, request: Request) -> bool:
        """Return whether the write overlaps."""
        return self._cut > 0

    def damage(self, request: Request, below: Below) -> Reply:
        """Write what the other one does not cover."""
        data = bytes(request.payload[self._cut :])
        if not data:
            return Reply()
        return below(changed_request(request, offset=request.offset + self._cut, payload=data))
