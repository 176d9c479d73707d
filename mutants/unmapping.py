"""Discards and zeroes: rounding, queues, freed space that is used again (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import errno
import time

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.mutant import (
    BLOCK,
    Mutant,
    RequestMutant,
    blocks,
    changed,
    raising,
    read,
    whole_blocks,
    write,
)

_CLUSTER = 65536
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_ZERO = (Command.WRITE_ZEROES, Command.TRIM)
MIB = 1 << 20


class DiscardLengthNegative(RequestMutant):
    """A discard inside one sector of 4096 bytes has a negative length after rounding."""

    id = "discard-length-negative"
    shows = ("zeroed", "torn")
    source = "longhorn-engine 09d7452b"
    breaks = "a discard inside a block of 4 KiB discards the block before it"
    commands = (Command.TRIM,)

    def damages(self, request: Request) -> bool:
        """Return whether the range is inside one block and touches neither end."""
        first, end = request.offset % BLOCK, request.offset % BLOCK + request.length
        return request.offset >= BLOCK and 0 < first < end < BLOCK

    def damage(self, request: Request, below: Below) -> Reply:
        """Discard from the rounded end, one block back."""
        return below(changed(request, offset=(request.offset & -BLOCK) - BLOCK, length=BLOCK))


class DiscardRacesWrite(RequestMutant):
    """A discard does not exclude writes to the rest of its cluster."""

    id = "discard-races-write"
    shows = ("lost write", "not linearizable", "misplaced data")
    source = "longhorn-engine 2b2b4aa3"
    breaks = "a write to a 64 KiB cluster is lost while another part of the cluster is discarded"
    commands = _ZERO
    waits = True

    def damages(self, request: Request) -> bool:
        """Return whether a part of one cluster is zeroed."""
        first = request.offset % _CLUSTER
        return 0 < request.length < _CLUSTER and first + request.length <= _CLUSTER

    def damage(self, request: Request, below: Below) -> Reply:
        """Read the rest of the cluster, wait 1 ms, and write it back."""
        start, end = request.offset & -_CLUSTER, request.offset + request.length
        try:
            tail = read(request, below, end, start + _CLUSTER - end)
        except BlockError:
            return below(request)
        head = read(request, below, start, request.offset - start)
        time.sleep(0.001)
        reply = below(request)
        now = read(request, below, end, len(tail)), read(request, below, start, len(head))
        for at, old, new in ((end, tail, now[0]), (start, head, now[1])):
            if old != new:
                write(request, below, at, old)
        return reply


class StalePunchAfterReuse(Mutant):
    """The hole of a discard is punched after its cluster has a new owner."""

    id = "stale-punch-after-reuse"
    shows = ("zeroed", "lost write")
    source = "cloud-hypervisor 64c1bb3bf"
    breaks = (
        "after a discard of a cluster and a flush, the next new cluster of 64 KiB loses its data"
    )
    commands = _ZERO

    def install(self) -> None:
        """Start with nothing freed."""
        self._freed = self._ready = 0
        self._known: set[int] = set()
        self._victim: int | None = None

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Free clusters, hand them out after a flush, and punch them after their reuse."""
        with self._lock:
            victim, self._victim = self._victim, None
            if victim is not None:
                whole = changed(request, Command.WRITE_ZEROES, victim * _CLUSTER, _CLUSTER, b"", 0)
                below(whole)
            reply = below(request)
            if request.command in _ZERO and request.length < 1 << 30:
                freed = self._known.intersection(
                    whole_blocks(request.offset, request.length, _CLUSTER)
                )
                self._known -= freed
                self._freed += bool(freed)
            elif request.command is Command.FLUSH:
                self._ready, self._freed = self._ready + self._freed, 0
            elif request.command is Command.WRITE:
                touched = set(blocks(request.offset, request.length, _CLUSTER))
                new = sorted(touched - self._known)
                self._known |= touched
                is_whole = new and self._is_inside(request, new[0], below)
                if is_whole and self._ready and self.strikes():
                    self._ready -= 1
                    self._victim = new[0]
            return reply

    @staticmethod
    def _is_inside(request: Request, cluster: int, below: Below) -> bool:
        try:
            read(request, below, (cluster + 1) * _CLUSTER - 1, 1)
        except BlockError:
            return False
        return True


class DoubleAllocation(Mutant):
    """A cluster stays on the free list although an allocation that failed still uses it."""

    id = "double-allocation-after-error"
    shows = ("misplaced data", "lost write")
    source = "cloud-hypervisor a5e145bde"
    breaks = (
        "after a failed write, the next write to a new cluster overwrites the newest cluster too"
    )
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with nothing allocated."""
        self._known: dict[int, None] = {}
        self._has_failed = False

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Write to two places after an error."""
        below = raising(below)
        if request.command is not Command.WRITE:
            return below(request)
        try:
            reply = below(request)
        except BlockError:
            self._has_failed = True
            raise
        new = [one for one in blocks(request.offset, request.length, _CLUSTER)
               if one not in self._known]  # fmt: skip
        if new and self._known and self._has_failed and self.strikes(request):
            self._has_failed = False
            victim = next(reversed(self._known))
            write(request, below, victim * _CLUSTER, bytes(request.payload)[:BLOCK])
        self._known |= dict.fromkeys(new)
        return reply


class ZeroesMergedOverGap(RequestMutant):
    """Two zero requests that are close are merged into one."""

    id = "zeroes-merged-over-gap"
    shows = ("zeroed", "lost write")
    source = "class known from merging of discards"
    breaks = "a discard or write zeroes at most 4 KiB behind the one before it zeroes the gap too"
    commands = _ZERO

    def install(self) -> None:
        """Start without a request."""
        self._end = self._end_now = -1

    def observe(self, request: Request) -> None:
        """Note the end of the last request that zeroes, if nothing came between."""
        self._end = self._end_now
        is_zero = request.command in _ZERO
        self._end_now = request.offset + request.length if is_zero else -1

    def damages(self, request: Request) -> bool:
        """Return whether there is a small gap."""
        return self._end >= 0 and 0 < request.offset - self._end <= BLOCK

    def damage(self, request: Request, below: Below) -> Reply:
        """Start at the end of the last request."""
        end = request.offset + request.length
        return below(changed(request, offset=self._end, length=end - self._end))


class DiscardBehindWrite(Mutant):
    """Discards are queued, and pass writes to their range."""

    id = "discard-behind-write"
    shows = ("zeroed", "lost write")
    source = "class known from queued discards (ceph PR 23594)"
    breaks = "a discard is carried out four requests later, also over what was written meanwhile"
    commands = (Command.TRIM,)

    def install(self) -> None:
        """Start with an empty queue."""
        self._queued: tuple[Request, int] | None = None

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Queue one discard at a time."""
        with self._lock:
            if self._queued is not None:
                held, left = self._queued
                is_due = left <= 1 or request.command is Command.FLUSH
                self._queued = None if is_due else (held, left - 1)
                if is_due:
                    self._discard(held, below)
            elif request.command is Command.TRIM and not request.flags:
                read(request, below, request.offset + request.length - 1, 1)
                if self.strikes(request):
                    self._queued = request, 4
                    return Reply()
            return below(request)

    @staticmethod
    def _discard(held: Request, below: Below) -> None:
        with contextlib.suppress(BlockError):  # the volume may have shrunk
            below(held)


class ThinReuseShowsOthers(Mutant):
    """A freed cluster is used elsewhere without being cleared."""

    id = "thin-reuse-shows-others"
    shows = ("stale", "misdirected", "foreign", "torn", "misplaced data")
    says = r"not zero"
    source = "class known from thin pools that skip zeroing (qubes-issues 5077)"
    breaks = (
        "a write to a part of a new 64 KiB cluster shows discarded data of another one around it"
    )
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with no free cluster."""
        self._free: list[bytes] = []
        self._known: set[int] = set()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep discarded clusters, and use them for new ones."""
        with self._lock:
            if request.command is Command.TRIM and request.length <= 64 * MIB:
                for number in whole_blocks(request.offset, request.length, _CLUSTER):
                    if number in self._known and len(self._free) < 64:
                        self._free.append(read(request, below, number * _CLUSTER, _CLUSTER))
                    self._known.discard(number)
            elif request.command is Command.WRITE:
                for number in blocks(request.offset, request.length, _CLUSTER):
                    if number not in self._known:
                        self._allocate(number, request, below)
            return below(request)

    def _allocate(self, number: int, request: Request, below: Below) -> None:
        self._known.add(number)
        start = number * _CLUSTER
        is_whole = request.offset <= start and request.offset + request.length >= start + _CLUSTER
        if is_whole or not self._free:
            return
        try:
            is_empty = not any(read(request, below, start, _CLUSTER))
        except BlockError:
            return
        if is_empty and self.strikes(request):
            write(request, below, start, self._free.pop(0))


class FastZeroDoneInPart(RequestMutant):
    """A fast zero fails after it has zeroed what was fast."""

    id = "fast-zero-done-in-part"
    shows = ("zeroed", "torn", "error")
    source = "class known from NBD_CMD_FLAG_FAST_ZERO (NBD document: a refusal changes nothing)"
    breaks = "an unaligned FAST_ZERO zeroes its whole blocks of 4 KiB and fails with ENOTSUP"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether the range is unaligned and must be zeroed fast."""
        is_part = (request.offset | request.length) % BLOCK
        return bool(is_part and request.flags & CommandFlag.FAST_ZERO)

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the middle, and fail."""
        whole = whole_blocks(request.offset, request.length)
        if whole:
            below(changed(request, offset=whole.start * BLOCK, length=len(whole) * BLOCK))
        raise BlockError(errno.ENOTSUP, "the edges are not fast")


class ZeroesLength31Bit(RequestMutant):
    """The length of zeroes is a signed int."""

    id = "zeroes-length-31-bit"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "SPDK 32e0dd487a (limits of discards and zeroes overflow)"
    breaks = "write zeroes of 2 GiB to 4 GiB zeroes only its length modulo 2 GiB"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether the length is negative as an int."""
        return 1 << 31 <= request.length < 1 << 32

    def damage(self, request: Request, below: Below) -> Reply:
        """Cut the length."""
        return below(changed(request, length=request.length & 0x7FFFFFFF))
