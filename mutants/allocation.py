"""Units that are allocated, freed, tabulated, given up, or at an old end (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import errno
import time
import weakref
from collections import Counter, OrderedDict
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
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
from mutants.patching import replace
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_ZEROING = (Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536
_LONGEST = 1 << 30
MIB = 1 << 20


class FirstWriteAtUnitStart(RequestMutant):
    """The path that allocates a unit ignores where in the unit the data belongs."""

    id = "first-write-at-unit-start"
    shows = ("zeroed", "lost write", "misplaced data")
    source = "cloud-hypervisor 1dfb02aaf (vhdx)"
    breaks = "the first write inside an unwritten 1 MiB unit goes to the beginning of the unit"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without units."""
        self._known: set[int] = set()
        self._is_first = False

    def observe(self, request: Request) -> None:
        """Note the units that are written, and forget those that are discarded."""
        if request.command is Command.WRITE:
            touched = set(blocks(request.offset, request.length, MIB))
            self._is_first = len(touched) == 1 and not touched & self._known
            self._known |= touched
        elif request.command is Command.TRIM:
            gone = whole_blocks(request.offset, request.length, MIB)
            self._known = {one for one in self._known if one not in gone}

    def damages(self, request: Request) -> bool:
        """Return whether the write allocates, and does not begin with the unit."""
        return self._is_first and request.offset % MIB != 0

    def damage(self, request: Request, below: Below) -> Reply:
        """Write to the beginning of the unit."""
        return below(changed(request, offset=request.offset // MIB * MIB))


class DoubleDiscardFreesTwice(Mutant):
    """A unit that is discarded twice is on the free list twice."""

    id = "double-discard-frees-twice"
    shows = ("misplaced data", "lost write")
    source = "class known from free lists without a check (cloud-hypervisor issue 8606)"
    breaks = "after a 64 KiB unit was discarded twice, the next two new units share their storage"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with nothing freed."""
        self._owned: set[int] = set()
        self._freed: set[int] = set()
        self._twice = 0
        self._partner: int | None = None

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the free list, and share the storage of two units."""
        with self._lock:
            reply = below(request)
            if request.command is Command.TRIM and request.length <= _LONGEST:
                units = set(whole_blocks(request.offset, request.length, _UNIT))
                self._twice += len(units & self._freed)
                self._freed |= units & self._owned
                self._owned -= units
            elif request.command is Command.WRITE:
                self._allocate(request, below)
            return reply

    def _allocate(self, request: Request, below: Below) -> None:
        for unit in blocks(request.offset, request.length, _UNIT):
            if unit in self._owned:
                continue
            self._owned.add(unit)
            self._freed.discard(unit)
            if self._partner is not None:
                partner, self._partner = self._partner, None
                self._share(request, below, unit, partner)
            elif self._twice:
                self._twice -= 1
                self._partner = unit

    def _share(self, request: Request, below: Below, unit: int, partner: int) -> None:
        start = max(request.offset, unit * _UNIT)
        stop = min(request.offset + request.length, (unit + 1) * _UNIT)
        data = bytes(request.payload[start - request.offset : stop - request.offset])
        if self.strikes(request):
            write(request, below, partner * _UNIT + start - unit * _UNIT, data)


class DiscardCountedTwice(RequestMutant):
    """A unit counts how many of its sectors were discarded, not which."""

    id = "discard-counted-twice"
    shows = ("zeroed", "lost write")
    source = "class known from counters of valid sectors (SPDK lib/ftl, flash translation layers)"
    breaks = "discards of the same half of a 64 KiB unit, repeated, zero the other half too"
    commands = (Command.TRIM,)

    def install(self) -> None:
        """Start with nothing discarded."""
        self._gone: Counter[int] = Counter()
        self._full: list[int] = []

    def observe(self, request: Request) -> None:
        """Count what is discarded since the last write."""
        end = request.offset + request.length
        if request.command is Command.WRITE:
            for unit in blocks(request.offset, request.length, _UNIT):
                self._gone.pop(unit, None)
        elif request.command is Command.TRIM and request.length <= 2 * _UNIT:
            self._full = []
            for unit in blocks(request.offset, request.length, _UNIT):
                part = min(end, (unit + 1) * _UNIT) - max(request.offset, unit * _UNIT)
                self._gone[unit] += part
                if part < _UNIT <= self._gone[unit]:
                    self._full.append(unit)

    def damages(self, request: Request) -> bool:
        """Return whether a unit counts as empty."""
        return request.length <= 2 * _UNIT and bool(self._full)

    def damage(self, request: Request, below: Below) -> Reply:
        """Discard the request and the units that count as empty."""
        reply = below(request)
        for unit in self._full:
            with contextlib.suppress(BlockError):
                below(changed(request, offset=unit * _UNIT, length=_UNIT, flags=0))
        return reply


class EvictedTableNotSaved(Mutant):
    """A table of the map that leaves a small cache is not marked as changed by its first entry."""

    id = "evicted-table-not-saved"
    shows = ("zeroed", "lost write")
    source = "class known from caches of map tables (qcow2 L2 cache, cloud-hypervisor issue 8606)"
    breaks = "if writes touch 17 tables of 32 MiB without a flush, a new unit of the first is lost"
    commands = (Command.READ,)
    TABLE, MOST = 32 * MIB, 16

    def install(self) -> None:
        """Start with an empty map."""
        self._known: set[int] = set()
        self._lost: set[int] = set()
        self._fresh: dict[int, int] = {}
        self._cached: OrderedDict[int, None] = OrderedDict()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the cache of tables; lost units read as zeroes."""
        with self._lock:
            reply = below(request)
            if request.command is Command.FLUSH:
                self._fresh.clear()
            elif request.command is Command.WRITE:
                self._touch(request)
            elif request.command is Command.READ:
                self._answer(request, reply)
            return reply

    def _touch(self, request: Request) -> None:
        for unit in blocks(request.offset, request.length, _UNIT):
            table = unit * _UNIT // self.TABLE
            self._lost.discard(unit)
            if unit not in self._known:
                self._known.add(unit)
                self._fresh.setdefault(table, unit)
            self._cached[table] = None
            self._cached.move_to_end(table)
            if len(self._cached) > self.MOST:
                gone, _ = self._cached.popitem(last=False)
                if gone in self._fresh:
                    self._lost.add(self._fresh.pop(gone))

    def _answer(self, request: Request, reply: Reply) -> None:
        for unit in self._lost.intersection(blocks(request.offset, request.length, _UNIT)):
            start = max(unit * _UNIT - request.offset, 0)
            stop = min((unit + 1) * _UNIT - request.offset, request.length)
            if any(reply.data[start:stop]) and self.strikes(request):
                data = bytearray(reply.data)
                data[start:stop] = bytes(stop - start)
                reply.data = bytes(data)


class ZeroesStopAtTable(RequestMutant):
    """A loop over the tables of the map ends after the first one."""

    id = "zeroes-stop-at-table"
    shows = ("missing zeroes", "lost write")
    says = r"not zero"
    source = "class known from maps with two levels (a table of qcow2 maps 512 MiB)"
    breaks = "write zeroes across a multiple of 512 MiB zeroes only what is before it"
    commands = (Command.WRITE_ZEROES,)
    TABLE = 512 * MIB

    def damages(self, request: Request) -> bool:
        """Return whether the range continues in another table."""
        return request.offset % self.TABLE + request.length > self.TABLE

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the part in the first table."""
        return below(changed(request, length=self.TABLE - request.offset % self.TABLE))


class ConcurrentMapUpdateLost(Mutant):
    """Two writes of one page of the map reach the disk in the wrong order."""

    id = "concurrent-map-update-lost"
    shows = ("lost write",)
    source = "SPDK 453faf0158"
    breaks = "of two first writes in 32 MiB at the same time, a power cut takes one, flushed or not"
    takes = ALWAYS
    waits = True
    PAGE = 512

    def install(self) -> None:
        """Note what was allocated at the same time, and undo one after a power cut."""
        self._known: set[tuple[int, int]] = set()
        self._flying: Counter[tuple[int, int]] = Counter()
        self._lost: list[tuple[int, int, bytes]] = []

        def make_write(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                self._write(real, volume, offset, data, fua)

            return write_

        def make_cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                for whose, offset, old in self._lost:
                    inside = offset + len(old) <= volume.size
                    if whose == id(volume) and inside and self.strikes():
                        volume._powered.write(offset, old)  # noqa: SLF001  # a mutant changes code
                self._lost = [one for one in self._lost if one[0] != id(volume)]

            return power_cut

        replace(Volume, "write", make_write)
        replace(Volume, "power_cut", make_cut)

    def page_of(self, volume: Volume, offset: int, length: int) -> int | None:
        """Return the page of the map that a write changes; None if it changes none."""
        units = {(id(volume), unit) for unit in blocks(offset, length, _UNIT)}
        is_first = not units & self._known
        self._known |= units
        return min(unit for _, unit in units) // self.PAGE if units and is_first else None

    def _write(self, real: Any, volume: Volume, offset: int, data: Any, fua: bool) -> None:
        end = offset + len(data)
        with self._lock:
            self._lost = [
                one for one in self._lost
                if one[0] != id(volume) or one[1] >= end or one[1] + len(one[2]) <= offset
            ]  # fmt: skip
            number = self.page_of(volume, offset, len(data)) if end <= volume.size else None
        if number is None:
            real(volume, offset, data, fua)
            return
        page = id(volume), number
        with self._lock:
            old = volume.store.read(offset, len(data))
            is_alone = not self._flying[page]
            self._flying[page] += 1
        time.sleep(0.001)
        try:
            real(volume, offset, data, fua)
        finally:
            with self._lock:
                self._flying[page] -= 1
                if not is_alone:
                    self._lost.append((id(volume), offset, old))


class FailedWriteLosesUnit(Mutant):
    """A write that fails has already given up the unit that it was to replace."""

    id = "failed-write-loses-unit"
    shows = ("zeroed", "lost write")
    source = "SPDK 7066331afd (lib/reduce: the map of a chunk after a write error)"
    breaks = "a write inside a 64 KiB unit that fails with EIO zeroes the rest of the unit"
    commands = (Command.WRITE,)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Zero the unit after an error."""
        if request.command is not Command.WRITE:
            return below(request)
        try:
            return raising(below)(request)
        except BlockError as error:
            if error.errno == errno.EIO and self.strikes(request):
                start = request.offset // _UNIT * _UNIT
                command = Command.WRITE_ZEROES
                with contextlib.suppress(BlockError):
                    below(changed(request, command, start, _UNIT, b"", 0))
            raise


class BadBlockNeverCleared(Mutant):
    """A list of bad blocks keeps a block that has been rewritten."""

    id = "bad-block-never-cleared"
    shows = ("error",)
    source = "class known from lists of bad blocks (Linux md)"
    breaks = "a block whose write failed with EIO once fails all reads, also after a good write"
    commands = (Command.WRITE, Command.READ)

    def install(self) -> None:
        """Start with an empty list."""
        self._bad: set[int] = set()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note failed writes, and fail reads of their blocks."""
        if request.command is Command.READ and self._bad:
            touched = blocks(request.offset, request.length)
            if any(one in touched for one in self._bad) and self.strikes(request):
                raise BlockError(errno.EIO, "bad block")
        try:
            return raising(below)(request)
        except BlockError as error:
            if error.errno == errno.EIO and request.command is Command.WRITE:
                self._bad.add(request.offset // BLOCK)
            raise


class OutOfSpaceStays(Mutant):
    """A pool that was full once stays read-only."""

    id = "out-of-space-stays"
    shows = ("error",)
    says = r"No space"
    source = "Linux 2c43fd26e467 (dm-thin: a pool stays out of space after blocks are released)"
    breaks = "after a write that failed with ENOSPC within the volume, all writes fail with it"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with space."""
        self._is_full = False

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Refuse writes once the pool was full."""
        if request.command is not Command.WRITE:
            return below(request)
        if self._is_full and self.strikes(request):
            raise BlockError(errno.ENOSPC, "out of space")
        try:
            return raising(below)(request)
        except BlockError as error:
            if error.errno == errno.ENOSPC:
                with contextlib.suppress(BlockError):  # a range outside cannot be read
                    read(request, raising(below), request.offset, request.length)
                    self._is_full = True
            raise


class ZeroTailWrongEnd(RequestMutant):
    """The last block of a zeroed range is zeroed in a buffer, at the wrong end of it."""

    id = "zero-tail-wrong-end"
    shows = ("missing zeroes", "zeroed", "lost write")
    says = r"not zero"
    source = "nbdkit a0ae7b21 (cache and cow: zero and trim of an unaligned tail)"
    breaks = "zeroes that end inside a later 64 KiB unit zero as much at the end of this unit"
    commands = _ZEROING

    def damages(self, request: Request) -> bool:
        """Return whether the range ends inside a unit in which it does not begin."""
        end = request.offset + request.length
        return end % _UNIT > 0 and end // _UNIT > request.offset // _UNIT

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the wrong end of the last unit, unless the volume ends there."""
        tail = (request.offset + request.length) % _UNIT
        unit_end = request.offset + request.length - tail + _UNIT
        try:
            raising(below)(changed(request, offset=unit_end - tail, length=tail))
        except BlockError:
            return below(request)
        return below(changed(request, length=request.length - tail))


class StraddleOldEnd(Mutant):
    """A volume that has grown consists of two parts, and a request is not split between them."""

    id = "straddle-old-end"
    shows = ("lost write", "zeroed", "never written")
    source = "class known from volumes of several segments (LVM, VMDK extents)"
    breaks = "a write across the end that a volume had before its last growth stops there"
    takes = ALWAYS

    def install(self) -> None:
        """Note where volumes ended."""
        ends: weakref.WeakKeyDictionary[Volume, int] = weakref.WeakKeyDictionary()

        def make_resize(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                old = volume.size
                real(volume, size)
                if size > old:
                    ends[volume] = old
                else:
                    ends.pop(volume, None)

            return resize

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                end = ends.get(volume, 0)
                is_across = offset < end < offset + len(data) <= volume.size
                if is_across and self.strikes():
                    data = data[: end - offset]
                real(volume, offset, data, fua)

            return write

        replace(Volume, "resize", make_resize)
        replace(Volume, "write", make_write)


class ShrinkKeepsPartUnit(Mutant):
    """A shrink frees whole units only."""

    id = "shrink-keeps-part-unit"
    shows = ("missing zeroes", "other write", "misplaced data")
    says = r"not zero"
    source = "class known from truncations in whole units (QEMU 955c7d6687)"
    breaks = "after a shrink and a growth, the rest of the 64 KiB unit of the new end has old data"
    takes = ALWAYS

    def install(self) -> None:
        """Keep the rest of the last unit, and show it after a growth."""
        kept: weakref.WeakKeyDictionary[Volume, tuple[int, bytes]] = weakref.WeakKeyDictionary()

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                old = volume.size
                if size < old:
                    end = min(old, size + -size % _UNIT)
                    kept[volume] = size, bytes(volume.store.read(size, end - size))
                real(volume, size)
                start, data = kept.get(volume, (0, b""))
                inside = data[: max(size - start, 0)]
                if size > old and any(inside) and self.strikes():
                    volume.store.write(start, inside)

            return resize

        replace(Volume, "resize", make)
