"""Data after a power cut and a recovery (docs/bugs.md, group C, and the map of group A)."""

from __future__ import annotations

import time
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.connections import on_end
from mutants.knobs import ALWAYS, FIXED
from mutants.mutant import BLOCK, Mutant, RequestMutant, read, write
from mutants.patching import replace
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.options import Options
from reference_backend.store import write_cache
from reference_backend.store.write_cache import WriteCache

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class FlushNotAdvertised(Mutant):
    """The cache is volatile, but flush is not advertised."""

    id = "flush-not-advertised"
    shows = ("lost write",)
    says = r"flush"
    source = "BUSE PR 28, SPDK 4f2f8e8d44"
    breaks = "flush and FUA are not advertised, and acknowledged writes are volatile"
    takes = FIXED

    def install(self) -> None:
        """Clear the transmission flags."""
        hidden = TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_FUA

        def make(real: Any) -> Any:
            return lambda options, device: real(options, device) & ~hidden

        replace(Options, "_flags", make)


class FlushSkipGenerationRace(Mutant):
    """A flush is skipped if nothing seems to be dirty."""

    id = "flush-skip-generation-race"
    shows = ("lost write",)
    source = "QEMU 3ff2f67a7c and its follow-ups"
    breaks = "what is written during a flush counts as flushed by it"
    commands = (Command.FLUSH,)
    waits = True

    def install(self) -> None:
        """Start at generation 0."""
        self._written = self._flushed = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Count changes, and skip a flush of a generation that counts as flushed."""
        if request.command is not Command.FLUSH:
            reply = below(request)
            with self._lock:
                self._written += request.command in _CHANGES
            return reply
        if self._flushed == self._written and self.strikes(request):
            return Reply()
        reply = below(request)
        time.sleep(0.02)  # the device is slow
        self._flushed = self._written
        return reply


class DestageReorder(Mutant):
    """A cache is written back in another order than that of the writes."""

    id = "destage-reorder"
    shows = ("lost write",)
    source = "FAST 2013, unserializable writes; ceph PR 43127"
    breaks = "a flush leaves the newest write in the cache, and makes those before it durable"
    takes = ALWAYS

    def install(self) -> None:
        """Settle all but the newest entry."""

        def make(real: Any) -> Any:
            def settle(cache: WriteCache, mark: int) -> None:
                real(cache, mark - 1 if self.strikes() else mark)

            return settle

        replace(WriteCache, "settle", make)


class TornWrite(Mutant):
    """A power cut tears sectors."""

    id = "torn-write"
    shows = ("torn",)
    source = "FAST 2013, shorn writes; OSDI 2014, ALICE"
    breaks = "a power cut leaves sectors that are partly old and partly new"
    takes = ALWAYS

    def install(self) -> None:
        """Leave the first 192 bytes of each lost range as they are."""

        def make(real: Any) -> Any:
            def undo(store: Any, entry: Any, start: int, end: int) -> None:
                real(store, entry, min(start + 192, end) if self.strikes() else start, end)

            return undo

        replace(write_cache, "_undo", make)


class JournalSlotOverlap(Mutant):
    """Two operations use the same slot of the journal."""

    id = "journal-slot-overlap"
    shows = ("lost write", "misplaced data")
    source = "QEMU a9c8ea9547, ceph PR 41490"
    breaks = "recovery restores the old data of a zeroed range 4096 bytes too far"
    takes = ALWAYS

    def install(self) -> None:
        """Record the old data at a wrong offset."""

        def make(real: Any) -> Any:
            def record(cache: WriteCache, start: int, end: int, pieces: Any) -> None:
                if self.strikes():
                    pieces = [(at + BLOCK, data) for at, data in pieces if at + BLOCK < end]
                real(cache, start, end, pieces)

            return record

        replace(WriteCache, "record_pieces", make)


class MapEntryShifted(RequestMutant):
    """The stored map differs from the map in memory."""

    id = "map-entry-shifted"
    shows = ("not linearizable", "misplaced data")
    source = "QEMU 8af037fe4c (VHDX), wnbd issue 63"
    breaks = "when a client leaves, the block written last reads as the block before it"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without a write, and register for the end of connections."""
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

    def damages(self, request: Request) -> bool:
        """Return whether the write has a whole block that is not the first of the volume."""
        first = request.offset // BLOCK
        return bool(first) and request.offset % BLOCK == 0 and request.length >= BLOCK

    def damage(self, request: Request, below: Below) -> Reply:
        """Note the first block of the write."""
        self._last = (request.offset // BLOCK, below)
        return below(request)
