"""Variants of what survived of the third collection, in another place or with other numbers."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants import clock
from mutants.lineage import _OfClones
from mutants.mutant import Mutant, RequestMutant
from mutants.patching import replace
from mutants.third_requests import NoHoleFirstPartOnly, Part
from mutants.third_snapshots import _chunks
from mutants.volume_mutant import Real, Span, VolumeMutant, apart, fits
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import MemoryStore
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_UNIT = 65536
MIB = 1 << 20


class FlushAfterManySkipped(VolumeMutant):
    """A counter of flushes is signed, and overflows once."""

    id = "flush-after-many-skipped"
    shows = ("lost write",)
    source = "variant of flush-count-wraps"
    breaks = "the 512th flush of a volume makes nothing durable"

    def fresh(self) -> int:
        """Count flushes."""
        return 0

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Skip one."""
        self.put(volume, self.of(volume) + 1)
        if self.of(volume) != 512 or not self.strikes():
            real()


class LargeDirtyShowsFirst(VolumeMutant):
    """A list of dirty ranges has an end, and a flush forgets what did not fit."""

    id = "large-dirty-shows-first"
    shows = ("lost write", "misplaced data")
    source = "variant of write-through-limit-undone"
    breaks = "with over 2 MiB unflushed, a flush brings back what the last small write replaced"

    def fresh(self) -> tuple[list[Span], list[int]]:
        """Start with a clean cache."""
        return [], [0]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Keep the old data of the newest write of up to 16 KiB."""
        last, total = self.of(volume)
        length = len(data)
        last[:] = apart(last, offset, length)
        if fits(volume, offset, length, _UNIT // 4) and total[0] > 2 * MIB and not fua:
            last[:] = [(offset, volume.store.read(offset, length))]
        total[0] += length
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget what is zeroed."""
        last = self.of(volume)[0]
        last[:] = apart(last, offset, length)
        real()

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Bring it back."""
        last, _ = self.of(volume)
        self.put(volume, self.fresh())
        for offset, old in last:
            if offset + len(old) <= volume.size and self.strikes():
                volume.store.write(offset, old)
        real()


class NoHoleWholeUnitsOnly(NoHoleFirstPartOnly):
    """Zeroes with NO_HOLE allocate whole units of 64 KiB only."""

    id = "no-hole-whole-units-only"
    source = "variant of no-hole-first-part-only"
    breaks = "write zeroes with NO_HOLE creates holes in the 64 KiB units that it covers in part"

    @staticmethod
    def parts(offset: int, length: int) -> list[Part]:
        """Return the whole units, and what is before and behind them."""
        end = offset + length
        low, high = -(-offset // _UNIT) * _UNIT, end // _UNIT * _UNIT
        if low >= high:
            return [(offset, end, True)]
        around = [(start, stop, False) for start, stop in ((offset, low), (high, end))]
        return [(low, high, True), *(part for part in around if part[0] < part[1])]


class SlowZeroesAnsweredEarly(RequestMutant):
    """A watchdog completes zeroes that take long, and forgets their result."""

    id = "slow-zeroes-answered-early"
    shows = ("error", "missing zeroes", "lost write", "not linearizable")
    says = r"fails: success"
    source = "variant of slow-write-answered-early"
    breaks = "write zeroes that take over 0.1 s are acknowledged then, whatever becomes of them"
    commands = (Command.WRITE_ZEROES,)
    waits = True

    def damage(self, request: Request, below: Below) -> Reply:
        """Wait for 0.1 s."""
        outcome: list[Reply | BaseException] = []

        def run() -> None:
            try:
                outcome.append(below(request))
            except Exception as error:  # raised again below
                outcome.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(0.1)
        if not outcome:
            return Reply()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]


class SlowReadFails(Mutant):
    """A read that takes long is given up, and fails although the data is there."""

    id = "slow-read-fails"
    shows = ("error",)
    says = r"READ of .* that takes .*: an error"
    source = "variant of slow-read-returns-zeroes"
    breaks = "a read that takes over 0.25 s fails with ETIMEDOUT"
    commands = (Command.READ,)
    waits = True

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Measure the time."""
        began_s = clock.now_s()
        reply = below(request)
        is_slow = clock.now_s() - began_s > 0.25
        if request.command is Command.READ and is_slow and self.strikes(request):
            raise BlockError(errno.ETIMEDOUT, "took too long")
        return reply


class TrackingLosesFuaInCut(VolumeMutant):
    """The bitmap is stored at each flush, and a crash brings back the stored one."""

    id = "tracking-as-of-last-flush"
    shows = ("block status",)
    says = r"dirty"
    source = "variant of tracking-lost-in-cut"
    breaks = "after a power cut, what was changed with FUA since the last flush is not dirty"

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Store the bitmap."""
        real()
        dirty = volume._dirty  # noqa: SLF001  # a mutant changes code
        self.put(volume, None if dirty is None else dirty.copy())

    def on_snapshot(self, real: Real, volume: Volume, name: str) -> None:
        """Store an empty bitmap."""
        real(name)
        self.put(volume, RangeSet())

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Bring it back."""
        real(seed)
        stored = self.of(volume)
        if stored is not None and volume._dirty is not None and self.strikes():  # noqa: SLF001
            volume._dirty = stored.copy()  # noqa: SLF001


class CloneRemovalFreesSiblings(_OfClones):
    """A clone that is removed frees the blocks that it shares with other clones."""

    id = "clone-removal-frees-siblings"
    shows = ("zeroed", "lost write", "changing")
    says = r"unlike"
    source = "variant of clone-removal-frees-parent"
    breaks = "if a clone is removed, other clones have zeroes where all share 1 MiB objects"

    def install(self) -> None:
        """Free the shared objects."""
        super().install()

        def make(real: Any) -> Any:
            def remove(pool: MemoryPool, name: str) -> None:
                gone = pool._stores[name]  # noqa: SLF001  # a mutant changes code
                real(pool, name)
                parent = self.parents.get(gone)
                for other, of in list(self.parents.items()) if parent is not None else ():
                    if other is not gone and of is parent:
                        self._free(other, gone)

            return remove

        replace(MemoryPool, "_remove", make)

    def _free(self, other: MemoryStore, gone: MemoryStore) -> None:
        for index, chunk in list(_chunks(gone).items()):
            if _chunks(other).get(index) is chunk and self.strikes():
                del _chunks(other)[index]
                other._order = None  # noqa: SLF001


class CloneLostInCut(VolumeMutant):
    """What a clone has from its snapshot is copied in the background, and a crash ends that."""

    id = "clone-empty-after-cut"
    shows = ("zeroed", "lost write")
    source = "variant of snapshot-lost-in-cut"
    breaks = "a power cut before the first flush of a clone leaves zeroes behind its first MiB"
    memory_only = True

    def install(self) -> None:
        """Note new clones."""
        super().install()
        self._new: deque[MemoryStore] = deque(maxlen=16)

        def make(real: Any) -> Any:
            def clone(store: MemoryStore) -> MemoryStore:
                made: MemoryStore = real(store)
                self._new.append(made)
                return made

            return clone

        replace(MemoryStore, "clone", make)

    def on_flush(self, real: Real, volume: Volume) -> None:
        """The clone is complete."""
        real()
        with contextlib.suppress(ValueError):
            self._new.remove(volume._powered)  # type: ignore[arg-type]  # noqa: SLF001

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Zero what all new clones share."""
        real(seed)
        for store in self._new:
            for index in [one for one, chunk in _chunks(store).items() if chunk.shared]:
                if index * MIB >= _UNIT and self.strikes():
                    del _chunks(store)[index]
                    store._order = None  # noqa: SLF001
        self._new.clear()


class ReadErrorHiddenByCache(Mutant):
    """A read that fails is answered from a cache, which nothing makes invalid."""

    id = "read-error-hidden-by-cache"
    shows = ("lost write", "misplaced data", "error")
    says = r"expected an error, got success"
    source = "variant of read-repair-writes-old"
    breaks = "a read that fails returns what the first read of the same range returned, once"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start without copies."""
        self._first: dict[tuple[int, int], bytes] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the first read of each range."""
        key = (request.offset, request.length)
        if request.command is not Command.READ or not 0 < request.length <= _UNIT:
            return below(request)
        try:
            reply = below(request)
        except BlockError:
            reply = Reply(errno.EIO)
            if key not in self._first:
                raise
        if reply.error and key in self._first and self.strikes(request):
            return Reply(data=self._first.pop(key))
        if not reply.error and len(self._first) < 1024:
            self._first.setdefault(key, bytes(reply.data))
        return reply
