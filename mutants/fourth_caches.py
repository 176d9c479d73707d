"""Caches, read-ahead, flushers, compaction: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from mutants import clock
from mutants.mutant import BLOCK, blocks, whole_blocks
from mutants.volume_mutant import Real, Span, VolumeMutant, apart, fits
from reference_backend.store.volume import Volume

_UNIT = 65536
MIB = 1 << 20


class SequentialBypassKeepsLines(VolumeMutant):
    """A stream of writes bypasses the cache, and does not invalidate what is in it."""

    id = "sequential-bypass-keeps-lines"
    shows = ("lost write", "misplaced data", "changing")
    source = "class known from bcache (sequential_cutoff: a stream goes around the cache)"
    breaks = "blocks that were read stay as they are under adjacent writes behind their first MiB"
    MOST = 2048

    def fresh(self) -> tuple[OrderedDict[int, bytes], list[int]]:
        """Start with an empty cache, and without a stream: its next offset and its length."""
        return OrderedDict(), [-1, 0]

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Keep whole blocks, and return them."""
        data: bytes = real(offset, length)
        if not 0 < length <= 4 * _UNIT:
            return data
        lines, wrong = self.of(volume)[0], bytearray(data)
        for block in whole_blocks(offset, length):
            at = block * BLOCK - offset
            own = data[at : at + BLOCK]
            held = lines.setdefault(block, own)
            if held != own and self.strikes():
                wrong[at : at + BLOCK] = held
        while len(lines) > self.MOST:
            lines.popitem(last=False)
        return bytes(wrong)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Invalidate the blocks, unless the stream is long."""
        lines, stream = self.of(volume)
        length = len(data)
        real(offset, data, fua)
        stream[1] = stream[1] + length if offset == stream[0] else length
        stream[0] = offset + length
        if stream[1] <= MIB or length >= MIB:
            for block in blocks(offset, length):
                lines.pop(block, None)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Invalidate the blocks."""
        real()
        lines = self.of(volume)[0]
        for block in [one for one in lines if one in blocks(offset, length)]:
            del lines[block]

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Start again."""
        self.put(volume, self.fresh())
        real(size)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Start again."""
        self.put(volume, self.fresh())
        real(seed)


class ReadaheadShortLast(VolumeMutant):
    """The last window of a read-ahead is moved back, so that it ends where the volume ends."""

    id = "readahead-short-last"
    shows = ("misplaced data", "lost write", "shifted")
    source = "class known from read-ahead at the end (nbdkit 95364342, scan and readahead filters)"
    breaks = "after two adjacent reads of one length, a shorter one up to the end begins too early"

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Count adjacent reads, and return the beginning of the window."""
        data: bytes = real(offset, length)
        if not length:
            return data
        after, window, count = self.of(volume) or (-1, 0, 0)
        is_next = offset == after
        is_short = is_next and count >= 2 and length < window
        self.put(volume, (offset + length, length, count + 1 if is_next else 1))
        if not is_short or offset + length != volume.size:
            return data
        wrong = volume.store.read(volume.size - window, length)
        return wrong if wrong != data and self.strikes() else data


class FlusherUndoesZeroes(VolumeMutant):
    """The flusher writes a page although the range has been zeroed in the meantime."""

    id = "flusher-undoes-zeroes"
    shows = ("missing zeroes", "lost write", "changing")
    says = r"not zero"
    source = "portworx px-fuse PR 164 (a dirty page behind a discard), blktests PR 6"
    breaks = "zeroes and discards over a write of the last 50 ms are undone then, or by a flush"
    LATER_S = 0.05

    def fresh(self) -> tuple[list[tuple[float, int, bytes]], list[tuple[float, int, bytes]]]:
        """Start with a clean cache: dirty pages, and those that are written too late."""
        return [], []

    def _run(self, volume: Volume, now_s: float) -> None:
        dirty, late = self.of(volume)
        dirty[:] = [one for one in dirty if one[0] > now_s]
        for one in [one for one in late if one[0] <= now_s]:
            late.remove(one)
            if one[1] + len(one[2]) <= volume.size and self.strikes():
                volume.store.write(one[1], one[2])

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Let the flusher run first."""
        self._run(volume, clock.now_s())
        return bytes(real(offset, length))

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note a dirty page."""
        now_s = clock.now_s()
        self._run(volume, now_s)
        dirty, late = self.of(volume)
        end = offset + len(data)
        for pages in (dirty, late):
            pages[:] = [one for one in pages if one[1] >= end or one[1] + len(one[2]) <= offset]
        if fits(volume, offset, len(data), _UNIT) and not fua:
            dirty.append((now_s + self.LATER_S, offset, bytes(data)))
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Leave the dirty pages to the flusher."""
        self._run(volume, clock.now_s())
        real()
        dirty, late = self.of(volume)
        for one in list(dirty):
            start, end = max(offset, one[1]), min(offset + length, one[1] + len(one[2]))
            if start < end:
                dirty.remove(one)
                late.append((one[0], start, one[2][start - one[1] : end - one[1]]))

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Write all pages."""
        self._run(volume, float("inf"))
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Start again."""
        self.put(volume, self.fresh())
        real(seed)


class CompactionLosesWrites(VolumeMutant):
    """A segment with holes is copied, and the copy replaces it with all that came meanwhile."""

    id = "compaction-loses-writes"
    shows = ("lost write", "changing", "misplaced data")
    source = "seaweedfs issue 1709, PR 9944 (vacuum: writes during the compaction)"
    breaks = "50 ms after 64 KiB are zeroed or discarded, writes since then to these 4 MiB are lost"
    SEGMENT, TIME_S = 4 * MIB, 0.05

    def _commit(self, volume: Volume) -> None:
        running = self.of(volume)
        if running is None or clock.now_s() < running[0]:
            return
        self.put(volume, None)
        for offset, old in reversed(running[2]):
            if offset + len(old) <= volume.size and self.strikes():
                volume.store.write(offset, old)

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """End a compaction whose time is over."""
        self._commit(volume)
        return bytes(real(offset, length))

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note what the segment had before."""
        self._commit(volume)
        running, length = self.of(volume), len(data)
        here = blocks(offset, length, self.SEGMENT)
        if running is not None and fits(volume, offset, length, _UNIT) and running[1] in here:
            running[2].append((offset, volume.store.read(offset, length)))
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Begin a compaction."""
        self._commit(volume)
        running = self.of(volume)
        if running is not None:
            running[2][:] = apart(running[2], offset, length)
        elif length >= _UNIT:
            lost: list[Span] = []
            self.put(volume, (clock.now_s() + self.TIME_S, offset // self.SEGMENT, lost))
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Give the compaction up."""
        self.put(volume, None)
        real(seed)


class PressureFuaVolatile(VolumeMutant):
    """Above the limit of dirty data, all writes take the queue of the write-back."""

    id = "pressure-fua-volatile"
    shows = ("lost write",)
    source = "class known from throttled write-back (dm-writecache, s3backer: dirty blocks)"
    breaks = "with over 2 MiB unflushed, a write with FUA is acknowledged before it is durable"

    def fresh(self) -> int:
        """Count dirty bytes."""
        return 0

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Leave the flag out under pressure."""
        dirty: int = self.of(volume)
        if not fua:
            self.put(volume, dirty + len(data))
        real(offset, data, fua and not (dirty > 2 * MIB and self.strikes()))

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Nothing is dirty."""
        real()
        self.put(volume, 0)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Nothing is dirty."""
        real(seed)
        self.put(volume, 0)


class LateObjectUndoesZeroes(VolumeMutant):
    """A new object enters the map when it has been written, also if it was zeroed meanwhile."""

    id = "late-object-undoes-zeroes"
    shows = ("missing zeroes", "lost write", "changing")
    source = "class known from caches over objects (ceph PR 44103, JuiceFS PR 4748)"
    breaks = "zeroes of 4 MiB in the 4 ms in which a first write to them is written back are undone"
    OBJECT, LINES, EACH_S = 4 * MIB, 48, 0.004

    def fresh(self) -> tuple[set[int], dict[int, Span], set[int], dict[int, tuple[float, Span]]]:
        """Start clean: objects in the map, new ones, dirty lines, ends of first write-backs."""
        return set(), {}, set(), {}

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note a dirty line; many of them begin a write-back, one object after the other."""
        mapped, new, lines, ends = self.of(volume)
        real(offset, data, fua)
        if not fits(volume, offset, len(data), self.OBJECT):
            return
        last = offset + len(data) - 1
        number = offset // self.OBJECT
        if number not in mapped and last // self.OBJECT == number:
            new.setdefault(number, (offset, bytes(data)))
        lines.update(range(offset // _UNIT, last // _UNIT + 1))
        if len(lines) < self.LINES:
            return
        now_s = clock.now_s()
        ends.clear()
        for count, one in enumerate(sorted(new)):
            ends[one] = (now_s + (count + 1) * self.EACH_S, new[one])
        mapped.update(new)
        new.clear()
        lines.clear()

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Drop the objects, and let the one that is being written back return."""
        mapped, new, _lines, ends = self.of(volume)
        now_s = clock.now_s()
        real()
        for number in range(-(-offset // self.OBJECT), (offset + length) // self.OBJECT):
            new.pop(number, None)
            end_s, (at, old) = ends.pop(number, (0.0, (0, b"")))
            if 0 < end_s - now_s <= self.EACH_S and self.strikes():
                volume.store.write(at, old)
            else:
                mapped.discard(number)
