"""Requests at the same time, caches, counters, and logs that a flush covers (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import errno
import time
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants import clock
from mutants.barriers import keep_pending
from mutants.connections import on_end
from mutants.knobs import ALWAYS
from mutants.mutant import (
    BLOCK,
    Mutant,
    ReplyMutant,
    RequestMutant,
    blocks,
    changed,
    raising,
    read,
    whole_blocks,
    write,
)
from mutants.patching import replace
from reference_backend.store.volume import Volume
from reference_backend.store.write_cache import WriteCache

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536
MIB = 1 << 20


class RmwUndoesWholeWrite(Mutant):
    """A read-modify-write excludes others of its kind, but no write of a whole block."""

    id = "rmw-undoes-whole-write"
    shows = ("lost write", "not linearizable", "misplaced data", "torn")
    source = "nbdkit 539246ea (blocksize filter)"
    breaks = "a whole write to a block of 4 KiB is lost around a part that is written meanwhile"
    takes = ALWAYS
    waits = True

    def install(self) -> None:
        """Read the block, wait, write the block."""
        self.changes: Counter[tuple[int, int]] = Counter()

        def make(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                self.note_write(volume, offset, len(data))
                number = offset // BLOCK
                start, end = number * BLOCK, min((number + 1) * BLOCK, volume.size)
                is_part = 0 < len(data) < BLOCK and offset + len(data) <= end
                if not is_part:
                    real(volume, offset, data, fua)
                    return
                before = self.changes[id(volume), number]
                block = bytearray(volume.store.read(start, end - start))
                time.sleep(0.001)
                if self.changes[id(volume), number] != before and self.strikes():
                    block[offset - start : offset - start + len(data)] = data
                    offset, data = start, bytes(block)
                real(volume, offset, data, fua)

            return write_

        replace(Volume, "write", make)

    def note_write(self, volume: Volume, offset: int, length: int) -> None:
        """Count changes of whole blocks, which a write of a part does not exclude."""
        self.changes.update((id(volume), one) for one in whole_blocks(offset, length))


class FillRacesWrite(Mutant):
    """What a read fetched goes into a cache although a write has invalidated it meanwhile."""

    id = "fill-races-write"
    shows = ("lost write", "not linearizable", "misplaced data")
    source = "dm-writeboost issues 75 and 150 (read caching)"
    breaks = "a block that is read and written at the same time is read as it was, until written"
    takes = ALWAYS
    waits = True
    MOST = 1024

    def install(self) -> None:
        """Read through a cache."""
        caches: weakref.WeakKeyDictionary[Volume, OrderedDict[int, bytes]] = (
            weakref.WeakKeyDictionary()
        )

        def make_read(real: Any) -> Any:
            def read_(volume: Volume, offset: int, length: int) -> bytes:
                inside = whole_blocks(offset, length)
                if length > _UNIT or not inside:
                    return bytes(real(volume, offset, length))
                cache = caches.setdefault(volume, OrderedDict())
                data = bytearray(real(volume, offset, length))
                missed = [number for number in inside if number not in cache]
                for number in inside:
                    at = number * BLOCK - offset
                    held = cache.get(number)
                    if held is not None and held != data[at : at + BLOCK] and self.strikes():
                        data[at : at + BLOCK] = held
                if missed:
                    time.sleep(0.0005)
                    for number in missed:
                        at = number * BLOCK - offset
                        cache[number] = bytes(data[at : at + BLOCK])
                while len(cache) > self.MOST:
                    cache.popitem(last=False)
                return bytes(data)

            return read_

        def make_write(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                cache = caches.get(volume)
                for number in blocks(offset, len(data)) if cache else ():
                    cache.pop(number, None)  # type: ignore[union-attr]
                real(volume, offset, data, fua)

            return write_

        def make_other(real: Any) -> Any:
            def change(volume: Volume, *arguments: Any) -> Any:
                caches.pop(volume, None)
                return real(volume, *arguments)

            return change

        replace(Volume, "read", make_read)
        replace(Volume, "write", make_write)
        for name in ("_zero", "resize", "power_cut"):
            replace(Volume, name, make_other)


class DiscardDropsDirtyLine(Mutant):
    """A discard drops the whole line of a write-back cache, with other data in it."""

    id = "discard-drops-dirty-line"
    shows = ("lost write", "misplaced data")
    source = "class known from write-back caches (vitastor d32edf6c: deletion and write-back)"
    breaks = "a discard of a part of a 64 KiB line takes back what was not flushed in the rest"
    commands = (Command.TRIM,)
    MOST = 256

    def install(self) -> None:
        """Start with a clean cache."""
        self._old: deque[tuple[int, bytes]] = deque(maxlen=self.MOST)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Remember what is not flushed, and take it back."""
        with self._lock:
            if request.command is Command.FLUSH:
                self._old.clear()
            elif request.command is Command.WRITE and request.length <= _UNIT:
                with contextlib.suppress(BlockError):  # a write beyond the end
                    old = read(request, raising(below), request.offset, request.length)
                    self._old.append((request.offset, old))
            elif request.command in _CHANGES:
                self._drop(request, below)
            return below(request)

    def _drop(self, request: Request, below: Below) -> None:
        start, end = request.offset, request.offset + request.length
        first, last = start // _UNIT * _UNIT, end + -end % _UNIT
        hit = [one for one in self._old if first <= one[0] and one[0] + len(one[1]) <= last]
        is_part = (start % _UNIT or end % _UNIT) and request.length < _UNIT
        outside = [one for one in hit if one[0] + len(one[1]) <= start or one[0] >= end]
        if request.command is Command.TRIM and is_part and outside and self.strikes(request):
            for offset, old in reversed(outside):
                write(request, below, offset, old)
        for one in hit:
            self._old.remove(one)


class CacheTagCut(Mutant):
    """The tags of a cache with direct mapping have too few bits."""

    id = "cache-tag-cut"
    shows = ("misplaced data", "lost write")
    source = "class known from caches over 2 TB (Linux ca763d0a53b2, dm-cache)"
    breaks = "a block that is read is also returned for the block 1 GiB away from it"
    commands = (Command.READ,)
    SLOTS, TAGS = 1024, 256

    def install(self) -> None:
        """Start with an empty cache."""
        self._slots: dict[int, tuple[int, bytes]] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Read through the cache."""
        with self._lock:
            reply = below(request)
            if request.command in _CHANGES:
                touched = blocks(request.offset, request.length)
                for slot in [one for one, held in self._slots.items() if held[0] in touched]:
                    del self._slots[slot]
            elif request.command is Command.READ and request.length <= _UNIT:
                self._answer(request, reply)
            return reply

    def _answer(self, request: Request, reply: Reply) -> None:
        data = bytearray(reply.data)
        for number in whole_blocks(request.offset, request.length):
            at = number * BLOCK - request.offset
            slot, span = number % self.SLOTS, self.SLOTS * self.TAGS
            other, held = self._slots.get(slot, (number, b""))
            is_alias = other != number and other % span == number % span
            if is_alias and held != data[at : at + BLOCK] and self.strikes(request):
                data[at : at + BLOCK] = held
            self._slots[slot] = number, bytes(data[at : at + BLOCK])
        reply.data = bytes(data)


class ReceiveRingWraps(RequestMutant):
    """A payload that wraps in the ring of received bytes continues at its own beginning."""

    id = "receive-ring-wraps"
    shows = ("misplaced data", "lost write")
    source = "class known from rings of received bytes (SPDK and vitastor messengers)"
    breaks = "the write with the 16 MiB-th byte of a connection's data repeats its beginning there"
    commands = (Command.WRITE,)
    RING = 16 * MIB

    def install(self) -> None:
        """Count the bytes of each connection."""
        self._counts: Counter[int] = Counter()
        self._kept = 0
        on_end(lambda number: self._counts.pop(number, None))

    def damages(self, request: Request) -> bool:
        """Return whether the payload wraps."""
        before = self._counts[request.connection] % self.RING
        self._counts[request.connection] += request.length
        self._kept = self.RING - before
        return self._kept < request.length

    def damage(self, request: Request, below: Below) -> Reply:
        """Repeat the beginning of the payload behind the wrap."""
        data = bytes(request.payload)
        wrong = (data[: self._kept] + data)[: len(data)]
        return below(changed(request, payload=wrong))


class CombinedWritesInvisible(Mutant):
    """Small writes in sequence are combined in a buffer of their connection."""

    id = "combined-writes-invisible"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "class known from write combining (variant of multi-conn-incoherent)"
    breaks = "a sequence of small writes is not seen by others until its connection does another"
    commands = (Command.READ,)
    MOST = 64

    def install(self) -> None:
        """Start with nothing combined."""
        self._held: dict[int, list[tuple[int, bytes]]] = {}
        self._ends: dict[int, int] = {}
        on_end(lambda number: self._held.pop(number, None))

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Hide what is combined from reads of other connections."""
        with self._lock:
            whose = request.connection
            is_small = request.command is Command.WRITE and request.length <= BLOCK
            is_next = is_small and self._ends.get(whose) == request.offset
            self._ends[whose] = request.offset + request.length if is_small else -1
            if is_next:
                held = self._held.setdefault(whose, [])
                with contextlib.suppress(BlockError):  # a write beyond the end
                    old = read(request, raising(below), request.offset, request.length)
                    if len(held) < self.MOST:
                        held.append((request.offset, old))
            else:
                self._held.pop(whose, None)
            if request.command in _CHANGES:
                self._held = {one: kept for one, kept in self._held.items() if one == whose}
            reply = below(request)
            if request.command is Command.READ:
                others = [held for one, held in self._held.items() if one != whose]
                hide(self, request, reply, [one for held in others for one in held])
            return reply


def hide(
    mutant: Mutant, request: Request, reply: Reply, pieces: Sequence[tuple[int, bytes]]
) -> None:
    """Show old data to a read instead of the newest.

    :param pieces: offsets in bytes, and the data that was there.
    """
    data, end = bytearray(reply.data), request.offset + request.length
    for offset, old in pieces:
        first, after = max(offset, request.offset), min(offset + len(old), end)
        if first < after:
            part = old[first - offset : after - offset]
            data[first - request.offset : after - request.offset] = part
    if data != reply.data and mutant.strikes(request):
        reply.data = bytes(data)


class SameTickOlderWins(RequestMutant):
    """Versions are times in milliseconds, and the larger contents win a tie."""

    id = "same-tick-older-wins"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "class known from stores in which the last writer wins"
    breaks = "of two writes of one range in a millisecond, the one with the larger bytes stays"
    commands = (Command.WRITE,)
    MOST = 256

    def install(self) -> None:
        """Start without writes."""
        self._last: OrderedDict[tuple[int, int], tuple[int, bytes]] = OrderedDict()
        self._is_older = False

    def observe(self, request: Request) -> None:
        """Note the time of each write, and forget what another change touched."""
        if request.command not in _CHANGES:
            return
        key, tick = (request.offset, request.length), int(clock.now_s() * 1000)
        last = self._last.get(key)
        data = bytes(request.payload)
        is_write = request.command is Command.WRITE
        self._is_older = is_write and last is not None and last[0] == tick and data < last[1]
        if self._is_older:
            return
        end = request.offset + request.length
        for offset, length in list(self._last):
            if offset < end and request.offset < offset + length:
                del self._last[offset, length]
        if is_write:
            self._last[key] = tick, data
        while len(self._last) > self.MOST:
            self._last.popitem(last=False)

    def damages(self, request: Request) -> bool:
        """Return whether the write loses."""
        return self._is_older

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the write."""
        return Reply()


class ReadaheadErrorReported(ReplyMutant):
    """An error behind a request, in what is read ahead, fails the request."""

    id = "readahead-error-reported"
    shows = ("error",)
    says = r"Input/output error|errno"
    source = "class known from read-ahead (nbdkit readahead before 2ff548d6)"
    breaks = "a read of up to 64 KiB fails with EIO if the 64 KiB behind it cannot be read"
    commands = (Command.READ,)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Read ahead."""
        reply = below(request)
        if request.command is not Command.READ or request.length > _UNIT or reply.error:
            return reply
        try:
            read(request, raising(below), request.offset + request.length, _UNIT)
        except BlockError as error:
            if error.errno == errno.EIO and self.strikes(request):
                raise
        return reply


class CopyInWords(RequestMutant):
    """A long buffer is copied in words of 8 bytes."""

    id = "copy-in-words"
    shows = ("lost write", "misplaced data", "altered", "torn")
    source = "class known from copies in words (dm-integrity, DMA engines)"
    breaks = "a write over 64 KiB whose length is no multiple of 8 loses its last 1 to 7 bytes"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether bytes are left over."""
        return request.length > _UNIT and request.length % 8 != 0

    def damage(self, request: Request, below: Below) -> Reply:
        """Cut the payload."""
        kept = request.length // 8 * 8
        return below(changed(request, payload=bytes(request.payload[:kept])))


class LengthIn24Bits(RequestMutant):
    """The length of a request has 24 bits in the format of a queue."""

    id = "length-in-24-bits"
    shows = ("lost write", "misplaced data")
    source = "class known from lengths in bit fields (iSCSI data segments have 24 bits)"
    breaks = "a write of 16 MiB and more writes its length modulo 16 MiB"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether the length does not fit."""
        return request.length >= 1 << 24

    def damage(self, request: Request, below: Below) -> Reply:
        """Cut the length."""
        kept = request.length % (1 << 24)
        return below(changed(request, payload=bytes(request.payload[:kept]))) if kept else Reply()


class FlushCoversNewestSegment(Mutant):
    """A flush writes the open segment of a log, but not those that were filled before it."""

    id = "flush-covers-newest-segment"
    shows = ("lost write",)
    source = "class known from logs in segments (vitastor c5195666: order of journal writes)"
    breaks = "of more than 4 MiB of changes, a flush makes only the last 4 MiB durable"
    takes = ALWAYS
    SEGMENT = 4 * MIB

    def install(self) -> None:
        """Keep the older entries pending."""

        def make(real: Any) -> Any:
            def settle(cache: WriteCache, mark: int) -> None:
                count = mark - cache._fallen  # noqa: SLF001  # a mutant changes code
                entries = list(cache._entries)[: max(count, 0)]  # noqa: SLF001
                room, first = self.SEGMENT, len(entries)
                while first and room >= 0:
                    first -= 1
                    room -= entries[first][1] - entries[first][0]
                old = entries[:first] if room < 0 else []
                real(cache, mark)
                if old and self.strikes():
                    keep_pending(cache, old)

            return settle

        replace(WriteCache, "settle", make)


class RedundantZeroesSkipFua(Mutant):
    """Zeroes where zeroes are need nothing, not even to become durable."""

    id = "redundant-zeroes-skip-fua"
    shows = ("missing zeroes", "lost write")
    says = r"not zero"
    source = "class known from requests that change nothing (variant of fua-lost-on-trim)"
    breaks = "zeroes with FUA over unflushed zeroes are acknowledged before they are durable"
    takes = ALWAYS

    def install(self) -> None:
        """Do nothing where zeroes are read."""

        def make(real: Any) -> Any:
            def zero(volume: Volume, offset: int, length: int, allocate: bool, fua: bool) -> None:
                is_short = length <= 4 * MIB
                is_same = fua and is_short and not any(volume.store.read(offset, length))
                if not (is_same and self.strikes()):
                    real(volume, offset, length, allocate, fua)

            return zero

        replace(Volume, "_zero", make)


class EqualWriteSkipsFua(Mutant):
    """A write of what is there already needs nothing, not even to become durable."""

    id = "equal-write-skips-fua"
    shows = ("lost write",)
    source = "class known from writes that change nothing (ZFS nopwrite)"
    breaks = "an unflushed write that is repeated with FUA is acknowledged before it is durable"
    takes = ALWAYS

    def install(self) -> None:
        """Do nothing where the data is read."""

        def make(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                inside = offset + len(data) <= volume.size
                is_same = fua and inside and volume.store.read(offset, len(data)) == data
                if not (is_same and self.strikes()):
                    real(volume, offset, data, fua)

            return write_

        replace(Volume, "write", make)
