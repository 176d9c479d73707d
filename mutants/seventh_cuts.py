"""What a power cut takes back although it was durable: a seventh collection (docs/bugs.md)."""

from __future__ import annotations

from typing import Any, NamedTuple

from mutants.mutant import blocks, whole_blocks
from mutants.sixth_requests import has_data
from mutants.volume_mutant import Real, VolumeMutant
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_UNIT = 65536
_OBJECT = 128 << 10
_LOCAL_UNITS = 128
_LINES = 64
_MOST = 1024


def _zero(volume: Volume, start: int, end: int) -> None:
    """Zero a range in the store of a volume without power, as far as it has one."""
    store = volume._powered  # noqa: SLF001  # a mutant changes code
    if start < min(end, store.size):
        store.zero(start, min(end, store.size) - start, allocate=False)


class FlushForgetsDeletions(VolumeMutant):
    """Servers that only deleted objects are not in the list of those that a flush is sent to."""

    id = "flush-forgets-deletions"
    shows = ("missing zeroes", "lost write", "stale")
    says = r"not zero"
    source = "vitastor 581d02e5"
    breaks = "a flush makes nothing durable if only whole 128 KiB objects were zeroed before it"
    forgets_after = ("snapshot", "power_cut")

    def fresh(self) -> list[bool]:
        """Start without deletions and other changes."""
        return [False, False]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note the write."""
        real(offset, data, fua)
        self.of(volume)[1] = True

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Note whether whole objects are deleted."""
        real()
        if length:
            is_part = bool(offset % _OBJECT or length % _OBJECT)
            self.of(volume)[is_part] = True

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Flush if there was something else than deletions."""
        deletions, others = self.of(volume)
        if deletions and not others and self.strikes():
            return
        real()
        self.put(volume, self.fresh())

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Note the change."""
        real(size)
        self.of(volume)[1] = True


class _Local(NamedTuple):
    """The units of a volume that are on the local disk: unflushed, flushed; and those that left."""

    unflushed: dict[int, None]
    flushed: dict[int, None]
    evicted: set[int]


class EvictedIsHoleAfterCut(VolumeMutant):
    """That a range is only in the object store is noted in memory, and looks like a hole then."""

    id = "evicted-is-hole-after-cut"
    shows = ("zeroed", "lost write")
    source = "dittofs issue 1850 (a journal in front of an object store)"
    breaks = (
        "after a power cut, what was flushed before the newest 8 MiB, and not read since, is zero"
    )

    def fresh(self) -> _Local:
        """Start with an empty local disk."""
        return _Local({}, {}, set())

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Store on the local disk."""
        real(offset, data, fua)
        self._use(self.of(volume), blocks(offset, len(data), _UNIT), True)

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Fetch what is not on the local disk."""
        data: bytes = real(offset, length)
        local: _Local = self.of(volume)
        self._use(local, [one for one in blocks(offset, length, _UNIT) if one in local.evicted])
        return data

    def _use(self, local: _Local, units: Any, is_write: bool = False) -> None:
        for one in units:
            local.evicted.discard(one)
            local.flushed.pop(one, None)
            local.unflushed.pop(one, None)
            (local.unflushed if is_write else local.flushed)[one] = None
        while len(local.flushed) > _LOCAL_UNITS:
            oldest = next(iter(local.flushed))
            del local.flushed[oldest]
            local.evicted.add(oldest)

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Write a mark to the local disk, which hides what has left it."""
        real()
        whole = whole_blocks(offset, length, _UNIT)
        self.of(volume).evicted.difference_update(
            {one for one in self.of(volume).evicted if one in whole}
        )

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Send what is on the local disk to the object store, and evict what is too much."""
        real()
        local: _Local = self.of(volume)
        units = list(local.unflushed)
        local.unflushed.clear()
        self._use(local, units)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Start again with what is on the local disk."""
        real(seed)
        for one in sorted(self.of(volume).evicted):
            if self.strikes():
                _zero(volume, one * _UNIT, (one + 1) * _UNIT)
        self.put(volume, self.fresh())


class _Lines(NamedTuple):
    """Reads of each line of a cache, the lines' contents, and contents that are not current."""

    reads: dict[int, int]
    cached: dict[int, bytes]
    stale: dict[int, bytes]


class FuaHitRevivedByCut(VolumeMutant):
    """A write is complete before the cache's line that it invalidates is durably gone."""

    id = "fua-hit-revived-by-cut"
    shows = ("stale", "lost write", "missing zeroes")
    source = "dm-cache: fix write path cache coherency in passthrough mode"
    breaks = (
        "a power cut revives 64 KiB that were read twice before a write with FUA, until a flush"
    )
    forgets_after = ("resize",)

    def fresh(self) -> _Lines:
        """Start with an empty cache."""
        return _Lines({}, {}, {})

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Promote what is read for the second time."""
        data: bytes = real(offset, length)
        lines: _Lines = self.of(volume)
        for one in blocks(offset, length, _UNIT)[:_LINES]:
            lines.reads[one] = lines.reads.get(one, 0) + 1
            if lines.reads[one] == 2 and one not in lines.cached:
                base = one * _UNIT
                lines.cached[one] = real(base, min(_UNIT, volume.size - base))
                while len(lines.cached) > _LINES:
                    del lines.cached[next(iter(lines.cached))]
        return data

    def _invalidate(self, volume: Volume, offset: int, length: int) -> None:
        lines: _Lines = self.of(volume)
        for one in [one for one in lines.cached if one in blocks(offset, length, _UNIT)]:
            lines.stale.setdefault(one, lines.cached.pop(one))
            lines.reads.pop(one, None)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Invalidate the line in memory."""
        real(offset, data, fua)
        self._invalidate(volume, offset, len(data))

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Invalidate the line in memory."""
        real()
        self._invalidate(volume, offset, length)

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Make the table of lines durable."""
        real()
        self.of(volume).stale.clear()

    def on_snapshot(self, real: Real, volume: Volume, name: str) -> None:
        """Make the table of lines durable."""
        real(name)
        self.of(volume).stale.clear()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Read lines that were gone in memory only."""
        real(seed)
        store = volume._powered  # noqa: SLF001  # a mutant changes code
        for one, data in self.of(volume).stale.items():
            base = one * _UNIT
            if base + len(data) <= store.size and self.strikes():
                store.write(base, data)
        self.put(volume, self.fresh())


class FuaOverSharedVolatile(VolumeMutant):
    """A write of a whole block needs no copy, and completes before the new map is durable."""

    id = "fua-over-shared-volatile"
    shows = ("stale", "lost write")
    says = r"FUA"
    source = "dm-thin: fix bug where bio that overwrites thin block ignores FUA"
    breaks = "FUA is ignored for a 64 KiB block as a whole that is new or shared with a snapshot"
    forgets_after = ("snapshot",)

    def fresh(self) -> set[int]:
        """Start without blocks that are known to be the volume's own."""
        return set()

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Ignore FUA if the write provides a whole block."""
        own: set[int] = self.of(volume)
        index = offset // _UNIT
        is_whole = len(data) == _UNIT and not offset % _UNIT
        is_new = is_whole and not (
            index in own and has_data(volume, index * _UNIT, (index + 1) * _UNIT)
        )
        if fua and is_new and self.strikes():
            fua = False
        real(offset, data, fua)
        own.update(blocks(offset, len(data), _UNIT))


class _Extents(NamedTuple):
    """Extents that are not flushed, those that are, and what a reload would not find."""

    new: list[tuple[int, int]]
    old: list[tuple[int, int]]
    lost: RangeSet


class ReloadDropsExtentTop(VolumeMutant):
    """An older extent that a newer one splits is cut to its first part when it is loaded."""

    id = "reload-drops-extent-top"
    shows = ("zeroed", "lost write")
    source = "Linux ef71ec00002d (bcache: Data corruption fix)"
    breaks = "after a power cut, a flushed write ends where a later write into its middle begins"
    forgets_after = ("resize",)

    def fresh(self) -> _Extents:
        """Start without extents."""
        return _Extents([], [], RangeSet())

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Insert an extent."""
        real(offset, data, fua)
        extents: _Extents = self.of(volume)
        end = offset + len(data)
        extents.lost.remove(offset, end)
        for start, stop in extents.old:
            if start < offset < end < stop:
                extents.lost.add(end, stop)
        if len(data):
            extents.new.append((offset, end))
            del extents.new[:-_MOST]

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Remove the extents."""
        real()
        new, old, lost = self.of(volume)
        end = offset + length
        lost.remove(offset, end)
        new, old = (
            [one for one in some if one[1] <= offset or one[0] >= end] for some in (new, old)
        )
        self.put(volume, _Extents(new, old, lost))

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Write a set of extents, which no later one joins."""
        real()
        new, old, lost = self.of(volume)
        self.put(volume, _Extents([], [*old, *new][-_MOST:], lost))

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Load the extents."""
        real(seed)
        for start, end in self.of(volume).lost:
            if self.strikes():
                _zero(volume, start, end)
        self.put(volume, self.fresh())
