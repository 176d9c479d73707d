"""What a power cut finds, and what comes back after it (docs/bugs.md, group C, and A's map)."""

from __future__ import annotations

import time
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.connections import on_end
from mutants.knobs import ALWAYS, FIXED
from mutants.mutant import BLOCK, Mutant, blocks, read, write
from mutants.patching import replace
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.options import Options
from reference_backend.store import write_cache
from reference_backend.store.write_cache import WriteCache

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class FlushNotAdvertised(Mutant):
    """There is a volatile cache, and clients are not told."""

    id = "flush-not-advertised"
    shows = ("lost write",)
    says = r"flush"
    source = "BUSE PR 28, SPDK 4f2f8e8d44"
    breaks = "flush and FUA are not offered, and acknowledged writes are volatile"
    takes = FIXED

    def install(self) -> None:
        """Clear the flags."""
        hidden = TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_FUA

        def make(real: Any) -> Any:
            return lambda options, device: real(options, device) & ~hidden

        replace(Options, "_flags", make)


class FlushSkipGenerationRace(Mutant):
    """A flush is skipped where nothing seems to be dirty."""

    id = "flush-skip-generation-race"
    shows = ("lost write",)
    source = "QEMU 3ff2f67a7c and its follow-ups"
    breaks = "what is written while a flush is in progress counts as flushed by it"
    commands = (Command.FLUSH,)
    waits = True

    def install(self) -> None:
        """Nothing is written, nothing flushed."""
        self._written = self._flushed = 0

    def meddle(self, request: Request, below: Below) -> Reply:
        """Look at the generation before and after."""
        if request.command is not Command.FLUSH:
            reply = below(request)
            with self._lock:
                self._written += request.command in _CHANGES
            return reply
        if self._flushed == self._written and self.strikes(request):
            return Reply()
        reply = below(request)
        time.sleep(0.02)  # the device takes a while
        self._flushed = self._written
        return reply


class DestageReorder(Mutant):
    """A cache is written back in its own order."""

    id = "destage-reorder"
    shows = ("lost write",)
    source = "FAST 2013, unserializable writes; ceph PR 43127"
    breaks = "a flush leaves the newest write in the cache, and those before it are durable"
    takes = ALWAYS

    def install(self) -> None:
        """Settle all but the last."""

        def make(real: Any) -> Any:
            def settle(cache: WriteCache, mark: int) -> None:
                real(cache, mark - 1 if self.strikes() else mark)

            return settle

        replace(WriteCache, "settle", make)


class TornWrite(Mutant):
    """A cut tears inside of sectors."""

    id = "torn-write"
    shows = ("torn",)
    source = "FAST 2013, shorn writes; OSDI 2014, ALICE"
    breaks = "a power cut leaves sectors that are partly old and partly new"
    takes = ALWAYS

    def install(self) -> None:
        """Put back only a part of the first sector of what is lost."""

        def make(real: Any) -> Any:
            def undo(store: Any, entry: Any, start: int, end: int) -> None:
                real(store, entry, min(start + 192, end) if self.strikes() else start, end)

            return undo

        replace(write_cache, "_undo", make)


class JournalSlotOverlap(Mutant):
    """Two operations have one slot of the journal."""

    id = "journal-slot-overlap"
    shows = ("lost write", "misplaced data")
    source = "QEMU a9c8ea9547, ceph PR 41490"
    breaks = "recovery puts the old data of a zeroed range 4096 bytes too far"
    takes = ALWAYS

    def install(self) -> None:
        """Log the pieces at the wrong place."""

        def make(real: Any) -> Any:
            def record(cache: WriteCache, start: int, end: int, pieces: Any) -> None:
                if self.strikes():
                    pieces = [(at + BLOCK, data) for at, data in pieces if at + BLOCK < end]
                real(cache, start, end, pieces)

            return record

        replace(WriteCache, "record_pieces", make)


class MapEntryShifted(Mutant):
    """The map that is stored is not the map in memory."""

    id = "map-entry-shifted"
    shows = ("not linearizable", "misplaced data")
    source = "QEMU 8af037fe4c (VHDX), wnbd issue 63"
    breaks = "when a client goes, the block written last reads as the one before it"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Store the map when a connection ends."""
        self._last: tuple[int, Below] | None = None
        on_end(self._store)

    def _store(self, connection: int) -> None:
        with self._lock:
            last, self._last = self._last, None
        if last is not None:
            block, below = last
            asked = Request(Command.READ, 0, 0, 0, 0, b"", connection)
            try:
                shifted = read(asked, below, (block - 1) * BLOCK, BLOCK)
                write(asked, below, block * BLOCK, shifted)
            except BlockError:
                pass  # the volume has shrunk

    def meddle(self, request: Request, below: Below) -> Reply:
        """Note the last block that was written, out of order with the one before."""
        if request.command is Command.WRITE and request.length:
            first = blocks(request.offset, request.length)[0]
            is_whole = first and request.offset % BLOCK == 0 and request.length >= BLOCK
            if is_whole and self.strikes(request):
                self._last = (first, below)
        return below(request)
