"""Variants of bugs of the sixth collection that survived it (docs/bugs.md)."""

from __future__ import annotations

import threading
import time
from typing import Any

from blockio.layers import Below, Command, Reply, Request
from mutants import clock
from mutants.lineage import _OfClones
from mutants.mutant import BLOCK, Mutant, whole_blocks
from mutants.patching import replace
from mutants.sixth_requests import CachedLate
from mutants.third_snapshots import _chunks
from mutants.volume_mutant import Real
from reference_backend.blocking_requests import mark_under_way
from reference_backend.store.memory import CHUNK_BYTES
from reference_backend.store.volume import Volume

_MOST = 256
_PAUSE_S = 0.3
_TOGETHER_S = 0.005


class CloneZeroesRace(_OfClones):
    """Zeroes clear an entry of a clone's table, and a first write stores the table of before."""

    id = "clone-zeroes-race"
    shows = ("missing zeroes", "lost write", "stale", "not linearizable", "never written")
    source = "variant of clone-table-race"
    breaks = "a first write to an object of a clone undoes zeroes of another whole object meanwhile"
    pauses = True

    def install(self) -> None:
        """Take 0.5 ms for a first write; note which objects are zeroed then."""
        super().install()
        zeroed: list[tuple[Any, int, float]] = []
        lock = threading.Lock()

        def make_zero(real: Any) -> Any:
            def zero(volume: Volume, offset: int, length: int, *rest: Any, **named: Any) -> None:
                real(volume, offset, length, *rest, **named)
                if volume.store in self.parents:
                    with lock:
                        whole = whole_blocks(offset, min(length, 64 << 20), CHUNK_BYTES)
                        now_s = time.monotonic()
                        zeroed.extend((volume.store, index, now_s) for index in whole)
                        del zeroed[:-_MOST]

            return zero

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                store, index = volume.store, offset // CHUNK_BYTES
                parent = self.parents.get(store)  # type: ignore[call-overload]
                theirs = None if parent is None else _chunks(parent).get(index)
                if theirs is None or _chunks(store).get(index) is not theirs:  # type: ignore[arg-type]
                    real(volume, offset, data, fua)
                    return
                begun_s = time.monotonic()
                mark_under_way()
                time.sleep(0.0005)
                real(volume, offset, data, fua)
                with lock:
                    others = [one for one in zeroed if one[0] is store and one[2] > begun_s]
                for _, other, _ in others:
                    old = _chunks(parent).get(other)
                    if other != index and old is not None and self.strikes():
                        with volume._lock:  # noqa: SLF001  # a mutant changes code
                            _chunks(store)[other] = old  # type: ignore[arg-type]

            return write

        replace(Volume, "write", make_write)
        replace(Volume, "write_zeroes", make_zero)
        replace(Volume, "discard", make_zero)


class LongReadsCachedAtFlush(CachedLate):
    """Long reads are cached by the next flush, and a write does not look into what waits for it."""

    id = "long-reads-cached-at-flush"
    shows = ("stale", "lost write", "never written")
    source = "variant of read-batch-cached-late"
    breaks = "a place that was read by 16 KiB or more, then written, is old again after a flush"

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Keep the blocks of long reads for the next flush; read single blocks from the cache."""
        data: bytes = real(offset, length)
        if offset % BLOCK:
            return data
        _, waiting = self.of(volume)
        if 4 * BLOCK <= length <= 64 * BLOCK and len(waiting) < _MOST:
            for index in whole_blocks(offset, length, BLOCK):
                at = index * BLOCK
                waiting.setdefault(at, bytes(data[at - offset : at - offset + BLOCK]))
        return self.cached(volume, offset, data) if length <= BLOCK else data

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Take what waits into the cache."""
        real()
        cache, waiting = self.of(volume)
        cache.clear()
        cache.update(waiting)
        waiting.clear()


class WokenReadsShareBuffer(Mutant):
    """The threads that wake up after a pause take the same buffer for their first reads."""

    id = "woken-reads-share-buffer"
    shows = ("misplaced data", "stale", "lost write", "never written")
    source = "variant of idle-trim-zeroes-payload"
    breaks = "of reads that arrive together after a pause, the second has the data of the first"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start the clock."""
        self._before_s = self._woken_s = clock.now_s()
        self._first: Reply | None = None

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Answer the second read within 5 ms after 0.3 s of idleness with the data of the first."""
        now_s = clock.now_s()
        with self._lock:
            if now_s - self._before_s >= _PAUSE_S:
                self._woken_s, self._first = now_s, None
            self._before_s = now_s
            is_early = now_s - self._woken_s < _TOGETHER_S
        reply = below(request)
        if request.command is Command.READ and is_early and not reply.error:
            with self._lock:
                first, self._first = self._first, self._first or reply
            is_alike = first is not None and len(first.data) == len(reply.data)
            if first is not None and is_alike and first.data != reply.data:
                reply.data = first.data if self.strikes(request) else reply.data
        return reply
