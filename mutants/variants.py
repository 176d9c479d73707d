"""Variants of kinds for which cases exist, in another place or with other numbers (docs/bugs.md).

Each was written after the cases for its family, to see whether they know the property or only the
example.
"""

from __future__ import annotations

import weakref
import zlib
from collections import OrderedDict
from typing import Any

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.allocation import ConcurrentMapUpdateLost
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, RequestMutant, blocks, write
from mutants.mutant import whole_blocks as whole
from mutants.pacing import RmwUndoesWholeWrite
from mutants.page_contents import BlockMutant, JournalMagicNotRestored
from mutants.patching import all_volumes, replace
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import MemoryStore
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536
MIB = 1 << 20


class FreedByZeroesAndDiscard(Mutant):
    """Zeroes free a unit, and a discard frees it again."""

    id = "freed-by-zeroes-and-discard"
    shows = ("misplaced data", "lost write")
    source = "variant of double-discard-frees-twice"
    breaks = "after a zeroed 16 KiB unit is discarded, the next two new units share their storage"
    commands = (Command.WRITE,)
    UNIT = 16384

    def install(self) -> None:
        """Start with nothing freed."""
        self._owned: set[int] = set()
        self._zeroed: set[int] = set()
        self._twice = 0
        self._partner: int | None = None

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the free list, and share the storage of two units."""
        with self._lock:
            reply = below(request)
            if request.length > 1 << 30:
                return reply
            units = set(whole(request.offset, request.length, self.UNIT))
            no_hole = request.flags & CommandFlag.NO_HOLE
            if request.command is Command.WRITE_ZEROES and not no_hole:
                self._zeroed |= units & self._owned
                self._owned -= units
            elif request.command is Command.TRIM:
                self._twice += len(units & self._zeroed)
                self._zeroed -= units
                self._owned -= units
            elif request.command is Command.WRITE:
                self._allocate(request, below)
            return reply

    def _allocate(self, request: Request, below: Below) -> None:
        for unit in blocks(request.offset, request.length, self.UNIT):
            if unit in self._owned:
                continue
            self._owned.add(unit)
            self._zeroed.discard(unit)
            if self._partner is not None:
                first, self._partner = self._partner, None
                start = max(request.offset, unit * self.UNIT)
                stop = min(request.offset + request.length, (unit + 1) * self.UNIT)
                data = bytes(request.payload[start - request.offset : stop - request.offset])
                if self.strikes(request):
                    write(request, below, first * self.UNIT + start % self.UNIT, data)
            elif self._twice:
                self._twice -= 1
                self._partner = unit


class WrittenBytesFillUnit(RequestMutant):
    """A unit counts the bytes that were written to it, not which."""

    id = "written-bytes-fill-unit"
    shows = ("misplaced data", "missing zeroes", "lost write")
    says = r"not zero"
    source = "variant of discard-counted-twice"
    breaks = "writes of 32 KiB in sum to a discarded 32 KiB unit fill its rest with bytes 0xee"
    commands = (Command.WRITE,)
    UNIT = 32768

    def install(self) -> None:
        """Start without discarded units."""
        self._written: dict[int, int] = {}
        self._covered: dict[int, RangeSet] = {}
        self._full: list[int] = []

    def observe(self, request: Request) -> None:
        """Count what is written since a discard."""
        start, end = request.offset, request.offset + request.length
        if request.command in {Command.TRIM, Command.WRITE_ZEROES} and request.length < 1 << 30:
            for unit in whole(start, request.length, self.UNIT):
                self._written[unit], self._covered[unit] = 0, RangeSet()
        elif request.command is Command.WRITE:
            self._full = []
            for unit in blocks(start, request.length, self.UNIT):
                if unit in self._written:
                    first, after = max(start, unit * self.UNIT), min(end, (unit + 1) * self.UNIT)
                    self._written[unit] += after - first
                    self._covered[unit].add(first, after)
                    if self._written[unit] >= self.UNIT:
                        self._full.append(unit)

    def damages(self, request: Request) -> bool:
        """Return whether a unit counts as full, and is not."""
        return any(
            list(self._covered[unit]) != [(unit * self.UNIT, (unit + 1) * self.UNIT)]
            for unit in self._full
        )

    def damage(self, request: Request, below: Below) -> Reply:
        """Fill the rest of the unit."""
        reply = below(request)
        for unit in self._full:
            start = unit * self.UNIT
            rest = list(self._covered.pop(unit).outside(start, start + self.UNIT))
            del self._written[unit]
            pattern = b"\xee" * self.UNIT
            for first, after in rest:
                write(request, below, first, pattern[: after - first])
        self._full = []
        return reply


class DedupByAdler(BlockMutant):
    """Equal blocks are found by their Adler-32."""

    id = "dedup-by-adler"
    shows = ("misplaced data", "lost write")
    source = "variant of dedup-by-crc"
    breaks = "a block with the Adler-32 of another block is stored as that block"
    MOST = 4096

    def install(self) -> None:
        """Start without blocks."""
        self._known: OrderedDict[int, bytes] = OrderedDict()

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Return the first block with this sum."""
        found = self._known.setdefault(zlib.adler32(block), block)
        if len(self._known) > self.MOST:
            self._known.popitem(last=False)
        return found


class EqualXorWriteSkipped(BlockMutant):
    """A block is compared with its predecessor by the XOR of its words."""

    id = "equal-xor-write-skipped"
    shows = ("lost write", "misplaced data")
    source = "variant of equal-sum-write-skipped (parity of RAID)"
    breaks = "a block whose 64-bit words have the same XOR as the old block is not written"
    needs_old = True

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Keep the old block."""
        return old if _xor(block) == _xor(old) else None


def _xor(block: bytes) -> int:
    number, bits = int.from_bytes(block, "little"), len(block) * 8
    while bits > 64:
        bits //= 2
        number = (number >> bits) ^ (number & ((1 << bits) - 1))
    return number


class FuaInsidePendingSkipped(Mutant):
    """A write with FUA inside a write that is still cached is merged into it, without its flag."""

    id = "fua-inside-pending-skipped"
    shows = ("lost write",)
    source = "variant of equal-write-skips-fua"
    breaks = "a write with FUA inside an unflushed longer write is not durable"
    takes = ALWAYS

    def install(self) -> None:
        """Remember the newest write of each volume."""
        last: weakref.WeakKeyDictionary[Volume, tuple[int, int]] = weakref.WeakKeyDictionary()

        def make(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                start, end = last.get(volume, (0, 0))
                after = offset + len(data)
                is_inside = start <= offset and after <= end and after - offset < end - start
                if fua and is_inside and self.strikes():
                    fua = False
                elif not fua:
                    last[volume] = offset, after
                real(volume, offset, data, fua)

            return write_

        def make_flush(real: Any) -> Any:
            def flush(volume: Volume) -> None:
                real(volume)
                last.pop(volume, None)

            return flush

        replace(Volume, "write", make)
        replace(Volume, "flush", make_flush)


class MagicInSectorNotRestored(JournalMagicNotRestored):
    """The log of a file system is taken for the log of the backend."""

    id = "magic-in-sector-not-restored"
    source = "variant of journal-magic-not-restored (the magic of the log of XFS)"
    breaks = "after a power cut, blocks that begin with the magic of a log of XFS begin with zeroes"
    MAGIC = bytes.fromhex("feedbabe")


class RmwUndoesZeroes(RmwUndoesWholeWrite):
    """A read-modify-write does not exclude zeroes of its block."""

    id = "rmw-undoes-zeroes"
    shows = ("missing zeroes", "lost write", "not linearizable", "misplaced data")
    says = r"not zero"
    source = "variant of rmw-undoes-whole-write (nbdkit 539246ea)"
    breaks = "zeroes or a discard around a part of a block that is written meanwhile are lost"

    def install(self) -> None:
        """Note which blocks are zeroed, and read, wait and write the block of a part."""
        super().install()

        def make(real: Any) -> Any:
            def zero(volume: Volume, offset: int, length: int, *arguments: Any) -> None:
                if length < 1 << 28:
                    self.changes.update((id(volume), one) for one in blocks(offset, length))
                real(volume, offset, length, *arguments)

            return zero

        replace(Volume, "_zero", make)

    def note_write(self, volume: Volume, offset: int, length: int) -> None:
        """Writes are excluded."""


class ConcurrentOverwriteLost(ConcurrentMapUpdateLost):
    """Two entries of one page of a log overwrite each other."""

    id = "concurrent-overwrite-lost"
    source = "variant of concurrent-map-update-lost"
    breaks = "of two writes to one MiB at the same time, a power cut takes one back, flushed or not"

    def page_of(self, volume: Volume, offset: int, length: int) -> int | None:
        """Return the page of the log, which has the entries of one MiB."""
        return offset // MIB if length <= _UNIT else None


class CloneOfFirstFound(Mutant):
    """A clone looks for its snapshot by name in all volumes."""

    id = "clone-of-first-found"
    shows = ("foreign", "stale", "never written", "zeroed", "misplaced data", "lost write")
    source = "variant of snapshot-names-shared"
    breaks = "a clone is made of the first snapshot of that name of any volume"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Look in all volumes."""

        def make(real: Any) -> Any:
            def clone(pool: MemoryPool, name: str, snapshot: str, new: str) -> None:
                stores = pool._stores  # noqa: SLF001  # a mutant changes code
                found = [one for one in sorted(stores) if snapshot in stores[one].snapshots()]
                if found[0] != name and self.strikes():
                    name = found[0]
                real(pool, name, snapshot, new)

            return clone

        replace(MemoryPool, "_clone", make)


class CloneClearsTracking(Mutant):
    """A clone takes the bitmap of its parent along."""

    id = "clone-clears-tracking"
    shows = ("block status",)
    says = r"dirty"
    source = "variant of checkpoint-clears-others"
    breaks = "a clone of a snapshot makes what was changed in all volumes clean"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Note all volumes, and clear their tracking."""
        known = all_volumes()

        def make(real: Any) -> Any:
            def clone(store: MemoryStore) -> MemoryStore:
                for volume in list(known):
                    if volume._dirty and self.strikes():  # noqa: SLF001  # a mutant changes code
                        volume._dirty = RangeSet()  # noqa: SLF001
                made: MemoryStore = real(store)
                return made

            return clone

        replace(MemoryStore, "clone", make)
