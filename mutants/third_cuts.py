"""Flushes, FUA and power cuts: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

from collections import deque
from typing import Any

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.connections import on_end
from mutants.mutant import Mutant, changed
from mutants.volume_mutant import Real, Span, VolumeMutant, apart, fits
from reference_backend.store.memory import MemoryStore
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume
from reference_backend.store.write_cache import WriteCache

_UNIT = 65536
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
MIB = 1 << 20


def _entries(volume: Volume) -> list[Any]:
    cache = volume._cache  # noqa: SLF001  # a mutant changes code
    return [] if cache is None else list(cache._entries)  # noqa: SLF001


def _put(volume: Volume, offset: int, data: bytes) -> None:
    """Change what survived a power cut."""
    if offset + len(data) <= volume.size:
        volume._powered.write(offset, data)  # noqa: SLF001  # a mutant changes code


class WritebackInOffsetOrder(VolumeMutant):
    """Dirty data is written back by offset, and the older of two writes may be the later one."""

    id = "writeback-in-offset-order"
    shows = ("lost write", "misplaced data", "changing")
    source = "vitastor PR 36 (a newer version at a lower offset)"
    breaks = "a flush brings back what an unflushed write that began at a lower offset overwrote"

    def fresh(self) -> deque[Span]:
        """Start with a clean cache."""
        return deque(maxlen=64)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note the write."""
        dirty = self.of(volume)
        if fits(volume, offset, len(data), _UNIT) and not fua:
            dirty.append((offset, bytes(data)))
        else:
            self.put(volume, deque(apart(list(dirty), offset, len(data)), maxlen=64))
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget what is zeroed."""
        self.put(volume, deque(apart(list(self.of(volume)), offset, length), maxlen=64))
        real()

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Write the overlapping part of an older write that begins behind a newer one."""
        dirty = list(self.of(volume))
        self.of(volume).clear()
        for number, (at, data) in enumerate(dirty):
            for start, newer in dirty[number + 1 :]:
                end = min(start + len(newer), at + len(data), volume.size)
                if start < at < end and self.strikes():
                    volume.store.write(at, data[: end - at])
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Forget everything."""
        self.of(volume).clear()
        real(seed)


class FuaLargeBlockVolatile(VolumeMutant):
    """Whole blocks go into place, and the log refers to them before they are there."""

    id = "fua-large-block-volatile"
    shows = ("lost write",)
    source = "openzfs issue 6603 (WR_INDIRECT: whole volume blocks, whether synchronous or not)"
    breaks = "a write with FUA of whole blocks of 128 KiB is acknowledged before it is durable"

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Leave the flag out."""
        is_whole = len(data) > 0 and not (offset | len(data)) % (2 * _UNIT)
        real(offset, data, fua and not (is_whole and self.strikes()))


class FlushCountWraps(VolumeMutant):
    """Flushes are numbered by 8 bits, and number 0 counts as done."""

    id = "flush-count-wraps"
    shows = ("lost write",)
    source = "class known from generations of flushes (QEMU 3ff2f67a7c)"
    breaks = "each 256th flush of a volume makes nothing durable"

    def fresh(self) -> int:
        """Count flushes."""
        return 0

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Skip each 256th."""
        count = self.of(volume) + 1
        self.put(volume, count)
        if count % 256 or not self.strikes():
            real()


class JournalEntryAtWrap(VolumeMutant):
    """An entry that wraps in the journal is replayed up to the end of the journal."""

    id = "journal-entry-at-wrap"
    shows = ("lost write",)
    source = "class known from journals that wrap (ceph PR 42883, vitastor journal)"
    breaks = "a power cut takes back the end of the write with each MiB-th byte, flushed or not"

    def fresh(self) -> tuple[list[Span], list[int]]:
        """Start at the beginning of the journal."""
        return [], [0]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note the part of a write that wraps."""
        lost, total = self.of(volume)
        length = len(data)
        lost[:] = apart(lost, offset, length)
        at = -total[0] % MIB
        if fits(volume, offset, length, MIB - 1) and 0 < at < length:
            lost[:] = [(offset + at, volume.store.read(offset + at, length - at))]
        total[0] += length
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget what is zeroed."""
        lost = self.of(volume)[0]
        lost[:] = apart(lost, offset, length)
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Take the part back."""
        lost = self.of(volume)[0]
        self.put(volume, self.fresh())
        real(seed)
        for offset, old in lost:
            if self.strikes():
                _put(volume, offset, old)


class ReconnectReplaysLog(Mutant):
    """A client that reconnects gets its unflushed writes done again, by the server."""

    id = "reconnect-replays-log"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "class known from sessions that are resumed (DRBD and librbd replay on reconnect)"
    breaks = "a new connection carries out again what the last one that ended had not flushed"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Register for the end of connections."""
        self._pending: dict[int, deque[tuple[Request, Below]]] = {}
        self._left: list[tuple[Request, Below]] = []
        self._known: set[int] = set()
        on_end(self._leave)

    def _leave(self, connection: int) -> None:
        with self._lock:
            self._left = list(self._pending.pop(connection, ())) or self._left

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Replay at the first request of a connection, and note writes."""
        with self._lock:
            if request.connection not in self._known:
                self._known.add(request.connection)
                left, self._left = self._left, []
                for old, ask in left:
                    if self.strikes(old):
                        ask(old)
            mine = self._pending.setdefault(request.connection, deque(maxlen=32))
            if request.command is Command.FLUSH:
                mine.clear()
            reply = below(request)
            is_short = request.command is Command.WRITE and 0 < request.length <= _UNIT
            if is_short and not request.flags & CommandFlag.FUA and not reply.error:
                mine.append((changed(request, payload=bytes(request.payload)), below))
            elif request.command in _CHANGES:
                end = request.offset + request.length
                kept = [one for one in mine if one[0].offset >= end
                        or one[0].offset + one[0].length <= request.offset]  # fmt: skip
                self._pending[request.connection] = deque(kept, maxlen=32)
            return reply


class FlushSkippedAfterFua(VolumeMutant):
    """FUA clears the mark that something is to be flushed."""

    id = "flush-skipped-after-fua"
    shows = ("lost write",)
    source = "class known from marks of dirty devices (QEMU 3ff2f67a7c, dm-writeboost)"
    breaks = "a flush whose last change before it has FUA makes nothing durable"

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Set the mark, or clear it."""
        real(offset, data, fua)
        self.put(volume, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Set the mark, or clear it."""
        real()
        self.put(volume, fua)

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Skip a flush without the mark."""
        if not (self.of(volume) and _entries(volume) and self.strikes()):
            real()


class WriteHoleDamagesNeighbour(VolumeMutant):
    """Parity that is old reconstructs another chunk of the stripe wrongly."""

    id = "write-hole-damages-neighbour"
    shows = ("unknown", "altered", "torn", "misplaced data", "lost write")
    source = "class known from the write hole of RAID 5 (Linux md)"
    breaks = "a power cut during a write damages the other 64 KiB chunk of its stripe"

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Damage a sector that nobody was writing."""
        pending = [one for one in _entries(volume) if isinstance(one[2], bytes)]
        busy = RangeSet()
        for start, end, *_ in _entries(volume):
            busy.add(start, min(end, 1 << 62))
        for start, _, old, _ in reversed(pending):
            there = start ^ _UNIT
            if there + 512 > volume.size or any(busy.inside(there, there + 512)):
                continue
            new = volume._powered.read(start, len(old))[:512]  # noqa: SLF001
            sector = volume._powered.read(there, 512)  # noqa: SLF001
            wrong = bytes(a ^ b ^ c for a, b, c in zip(sector, old, new, strict=False))
            if wrong != sector[: len(wrong)] and self.strikes():
                real(seed)
                _put(volume, there, wrong)
                return
        real(seed)


class LogReplayedTwice(VolumeMutant):
    """A log is not emptied after its replay."""

    id = "log-replayed-twice"
    shows = ("lost write", "misplaced data")
    source = "class known from recovery (jbd2 and md: the log's tail after a replay)"
    breaks = "a second power cut brings back the last 16 writes before the first one"

    def fresh(self) -> tuple[deque[Span], list[Span]]:
        """Start with an empty log."""
        return deque(maxlen=16), []

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note where writes went."""
        if fits(volume, offset, len(data), _UNIT):
            self.of(volume)[0].append((offset, bytes(data)))
        real(offset, data, fua)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Replay the log of the cut before."""
        recent, log = self.of(volume)
        real(seed)
        store = volume._powered  # noqa: SLF001  # a mutant changes code
        for offset, old in log:
            is_inside = offset + len(old) <= volume.size
            if is_inside and store.read(offset, len(old)) != old and self.strikes():
                _put(volume, offset, old)
        log[:] = [(at, store.read(at, len(data))) for at, data in recent
                  if at + len(data) <= volume.size]  # fmt: skip
        recent.clear()


class ZeroesDurableOneFlushLate(VolumeMutant):
    """Zeroes change the map only, and the map is written one flush late."""

    id = "zeroes-durable-one-flush-late"
    shows = ("missing zeroes", "lost write")
    source = "class known from maps that are written in the background (QEMU c8bf9a9169)"
    breaks = "zeroes and discards become durable with the second flush after them"

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Keep the zeroes pending that are new since the last flush."""
        known = {id(one) for one in self.of(volume) or ()}
        entries, late = _entries(volume), []
        for number, one in enumerate(entries):
            is_zeroes = one[3] is None and isinstance(one[2], list) and id(one) not in known
            after = entries[number + 1 :]
            if is_zeroes and all(two[1] <= one[0] or two[0] >= one[1] for two in after):
                late.append(one)
        real()
        cache = volume._cache  # noqa: SLF001  # a mutant changes code
        if late and cache is not None and self.strikes():
            _keep_zeroes(cache, late)
            self.put(volume, late)


def _keep_zeroes(cache: WriteCache, late: list[Any]) -> None:
    """Put entries of zeroes that were settled back in front of all others."""
    cache._entries.extendleft(reversed(late))  # noqa: SLF001  # a mutant changes code
    cache._fallen -= len(late)  # noqa: SLF001
    cache._bytes += sum(256 + sum(256 + len(data) for _, data in one[2]) for one in late)  # noqa: SLF001


class SnapshotLostInCut(VolumeMutant):
    """The record of a new snapshot is not durable."""

    id = "snapshot-lost-in-cut"
    shows = ("error", "lost", "newer")
    says = r"snapshot|no volume|not found|unknown|no export named"
    source = "class known from records without fsync (Longhorn snapshot metadata)"
    breaks = "a power cut removes the newest snapshot, unless a flush followed it"
    memory_only = True

    def on_snapshot(self, real: Real, volume: Volume, name: str) -> None:
        """Note the snapshot."""
        real(name)
        self.put(volume, name)

    def on_flush(self, real: Real, volume: Volume) -> None:
        """A flush makes it durable."""
        real()
        self.put(volume, None)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Remove it."""
        name = self.of(volume)
        store = volume._powered  # noqa: SLF001  # a mutant changes code
        real(seed)
        is_there = isinstance(store, MemoryStore) and name in store.snapshots()
        if is_there and isinstance(store, MemoryStore) and self.strikes():
            store.delete_snapshot(name)
            self.put(volume, None)


class TrackingLostInCut(VolumeMutant):
    """The bitmap of changes is in memory only, and starts empty after a crash."""

    id = "tracking-lost-in-cut"
    shows = ("block status",)
    says = r"dirty"
    source = "class known from bitmaps in memory (QEMU persistent bitmaps: IN_USE after a crash)"
    breaks = "after a power cut, no block that was changed since the last snapshot is dirty"

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Empty the bitmap."""
        real(seed)
        if volume._dirty and self.strikes():  # noqa: SLF001  # a mutant changes code
            volume._dirty = RangeSet()  # noqa: SLF001
