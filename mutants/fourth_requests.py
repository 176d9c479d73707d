"""Errors and retries, ends, parts of blocks: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import OrderedDict, deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.mutant import BLOCK, Mutant, RequestMutant, blocks, changed, raising, read, write
from mutants.volume_mutant import Real, Span, VolumeMutant, apart, fits
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536


class EndAt4GibDoesNothing(RequestMutant):
    """The end of a range has 32 bits, and a range that ends at 0 is empty."""

    id = "end-at-4gib-does-nothing"
    shows = ("lost write", "missing zeroes")
    source = "class known from ends in 32 bits (nbdkit 66b880f0, QEMU 6545916d52)"
    breaks = "a write, zeroes or discard that ends at 4 GiB, 8 GiB... is acknowledged and not done"
    commands = _CHANGES

    def damages(self, request: Request) -> bool:
        """Return whether it ends there."""
        return request.length > 0 and not (request.offset + request.length) % (1 << 32)

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge it."""
        return Reply()


class HeadFillsTailBlock(VolumeMutant):
    """The first and the last block of an unaligned write are made in the same buffer."""

    id = "head-fills-tail-block"
    shows = ("misplaced data", "lost write", "altered")
    source = "class known from bounce buffers (nbdkit blocksize, cow and cache filters)"
    breaks = "behind a write unaligned at both ends, its last block has bytes of its first one"

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Fill the last block."""
        real(offset, data, fua)
        end = offset + len(data)
        first, last = offset // BLOCK * BLOCK, end // BLOCK * BLOCK
        is_part = offset % BLOCK and end % BLOCK and first != last
        if not is_part or not fits(volume, offset, len(data), 1 << 25):
            return
        stop = min(last + BLOCK, volume.size)
        wrong = volume.store.read(first + end - last, stop - end)
        if wrong != volume.store.read(end, stop - end) and self.strikes():
            volume.store.write(end, wrong)


class RetryResumesTooFar(Mutant):
    """A request that failed is resumed where its second part begins."""

    id = "retry-resumes-too-far"
    shows = ("lost write", "misplaced data")
    source = "class known from requests that are resumed (QEMU c06fc7ce14, SPDK nvme retries)"
    breaks = "a write of 8 KiB and more that failed, repeated, is done in its second half only"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without failures."""
        self._failed: OrderedDict[tuple[int, int], None] = OrderedDict()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note a write that fails; cut off the first half of its repetition."""
        key = request.offset, request.length
        if request.command is not Command.WRITE or request.length < 2 * BLOCK:
            return below(request)
        if key in self._failed and self.strikes(request):
            self._failed.pop(key, None)
            half = request.length // 2
            rest = bytes(request.payload[half:])
            return below(changed(request, offset=request.offset + half, payload=rest))
        try:
            return raising(below)(request)
        except BlockError as error:
            if error.errno == errno.EIO:
                self._failed[key] = None
                while len(self._failed) > 64:
                    self._failed.popitem(last=False)
            raise


class FailedReadDropsDirty(Mutant):
    """A page that could not be read is removed from the cache, also if it is dirty."""

    id = "failed-read-drops-dirty"
    shows = ("lost write", "misplaced data", "changing")
    source = "class known from caches that drop pages on errors (QEMU d85fa9eb87, gluster)"
    breaks = "after a read that failed, what was written there since the last flush is gone"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with a clean cache."""
        self._old: deque[Span] = deque(maxlen=128)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note old data, and restore it when a read fails."""
        ask = raising(below)
        with self._lock:
            if request.command is Command.FLUSH:
                self._old.clear()
            elif request.command in _CHANGES:
                self._note(request, ask)
            elif request.command is Command.READ:
                try:
                    return ask(request)
                except BlockError as error:
                    if error.errno == errno.EIO:
                        self._drop(request, ask)
                    raise
            return below(request)

    def _note(self, request: Request, ask: Below) -> None:
        is_small = request.command is Command.WRITE and 0 < request.length <= _UNIT
        if is_small and not request.flags & CommandFlag.FUA:
            with contextlib.suppress(BlockError):  # beyond the end
                old = read(request, ask, request.offset, request.length)
                self._old.append((request.offset, old))
            return
        kept = apart(list(self._old), request.offset, request.length)
        self._old = deque(kept, maxlen=128)

    def _drop(self, request: Request, ask: Below) -> None:
        first, after = request.offset, request.offset + request.length
        hit = [one for one in self._old if first <= one[0] and one[0] + len(one[1]) <= after]
        if not hit or not self.strikes(request):
            return
        for offset, old in reversed(hit):
            self._old.remove((offset, old))
            with contextlib.suppress(BlockError):
                write(request, ask, offset, old)


class FailedWriteKeepsLock(Mutant):
    """The path of errors does not release the lock of a range."""

    id = "failed-write-keeps-lock"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer|did not end within"
    source = "class known from locks of ranges (dm-writeboost issue 98, SPDK bdev range locks)"
    breaks = "after a write that failed with EIO, writes to its 64 KiB are never answered"
    commands = (Command.WRITE,)
    waits = True

    def install(self) -> None:
        """Start without locks."""
        self._held: set[int] = set()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the lock of a write that fails."""
        if request.command is not Command.WRITE:
            return below(request)
        units = blocks(request.offset, request.length, _UNIT)
        if any(one in self._held for one in units) and self.strikes(request):
            threading.Event().wait()
        try:
            return raising(below)(request)
        except BlockError as error:
            if error.errno == errno.EIO:
                self._held.update(units[:64])
            raise


class UnalignedZeroesOneReplica(VolumeMutant):
    """A replica turns zeroes into a discard, which leaves parts of blocks as they are."""

    id = "unaligned-zeroes-one-replica"
    shows = ("missing zeroes", "changing", "lost write")
    says = r"not zero"
    source = "class known from DRBD (discard-zeroes-if-aligned: head and tail are zeroed or not)"
    breaks = "the parts of 4 KiB blocks at the ends of zeroes have old data in every second read"

    def fresh(self) -> tuple[list[Span], list[int]]:
        """Start with equal replicas: what differs, and the count of reads of it."""
        return [], [0]

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Keep the parts of blocks."""
        other = self.of(volume)[0]
        end = offset + length
        parts = []
        if fits(volume, offset, length, volume.size) and not is_discard:
            head = min(end, offset + -offset % BLOCK)
            tail = max(head, end // BLOCK * BLOCK)
            edges = [one for one in ((offset, head), (tail, end)) if one[0] < one[1]]
            parts = [(at, volume.store.read(at, stop - at)) for at, stop in edges
                     if stop != volume.size]  # fmt: skip
        real()
        other[:] = [*apart(other, offset, length), *(one for one in parts if any(one[1]))][-64:]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Both replicas are written."""
        other = self.of(volume)[0]
        other[:] = apart(other, offset, len(data))
        real(offset, data, fua)

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Read from both in turns."""
        data: bytes = real(offset, length)
        other, turn = self.of(volume)
        end = offset + length
        hit = [one for one in other if one[0] < end and offset < one[0] + len(one[1])]
        if not hit:
            return data
        turn[0] += 1
        if turn[0] % 2 or not self.strikes():
            return data
        wrong = bytearray(data)
        for at, old in hit:
            start, stop = max(at, offset), min(at + len(old), end)
            wrong[start - offset : stop - offset] = old[start - at : stop - at]
        return bytes(wrong)
