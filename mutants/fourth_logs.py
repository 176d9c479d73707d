"""Logs, replays, flushes, power cuts: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.mutant import BLOCK, Mutant, blocks, raising, whole_blocks
from mutants.third_cuts import _entries, _keep_zeroes, _put
from mutants.volume_mutant import Real, Span, VolumeMutant, apart, fits
from reference_backend.store.volume import Volume

_UNIT = 65536


class LogFullLooksEmpty(VolumeMutant):
    """The head of a ring is at its tail: it is full, and looks empty."""

    id = "log-full-looks-empty"
    shows = ("lost write",)
    source = "ceph PR 41490 (librbd write log: first_free_entry), class known from rings"
    breaks = "a flush of exactly 16, 32, 48... changes makes nothing durable"
    ENTRIES = 16

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Skip a flush of a full ring."""
        count = len(_entries(volume))
        if not count or count % self.ENTRIES or not self.strikes():
            real()


class ReplayKeepsLastPart(VolumeMutant):
    """A log with two parts of one block is replayed, and the second one invalidates the first."""

    id = "replay-keeps-last-part"
    shows = ("lost write", "torn", "misplaced data")
    source = "dm-writeboost issue 12 (partial dirtiness on resuming)"
    breaks = "of writes of parts of a 4 KiB block, a power cut leaves the last only, flushed or not"
    MOST = 64

    def fresh(self) -> OrderedDict[int, tuple[bytes, list[tuple[int, int]]]]:
        """Start with an empty log: the block before its first part, and the parts."""
        return OrderedDict()

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note the parts of blocks."""
        log, length = self.of(volume), len(data)
        whole = whole_blocks(offset, length)
        for block in blocks(offset, length):
            if block in whole or not fits(volume, offset, length, _UNIT):
                log.pop(block, None)
                continue
            start = block * BLOCK
            size = min(BLOCK, volume.size - start)
            base = log[block] if block in log else (volume.store.read(start, size), [])
            base[1].append((max(offset - start, 0), min(offset + length - start, size)))
            log[block] = base
            log.move_to_end(block)
        while len(log) > self.MOST:
            log.popitem(last=False)
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Zeroes replace the block."""
        log = self.of(volume)
        for block in [one for one in log if one in blocks(offset, length)]:
            del log[block]
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Take the earlier parts back."""
        log = self.of(volume)
        self.put(volume, self.fresh())
        real(seed)
        for block, (base, parts) in log.items():
            last_start, last_end = parts[-1]
            for start, end in parts[:-1]:
                for first, after in ((start, min(end, last_start)), (max(start, last_end), end)):
                    if first < after and self.strikes():
                        _put(volume, block * BLOCK + first, base[first:after])


class DeferredReplayHitsReuse(VolumeMutant):
    """A deferred overwrite is replayed where its unit was, which is another one's now."""

    id = "deferred-replay-hits-reuse"
    shows = ("misplaced data", "lost write")
    source = "ceph PR 46890, PR 60753 (BlueStore: replay of deferred writes)"
    breaks = "after a power cut, a new 64 KiB unit has what was overwritten in the last freed one"

    def fresh(self) -> tuple[deque[Span], list[list[Span]], deque[tuple[int, list[Span]]]]:
        """Start empty: deferred writes, those of freed units, those of units in use again."""
        return deque(maxlen=32), [], deque(maxlen=8)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Defer a small overwrite; give a freed unit to a first write."""
        deferred, freed, reused = self.of(volume)
        length, unit = len(data), offset // _UNIT
        if fits(volume, offset, length, _UNIT):
            first = unit * _UNIT
            is_new = not any(volume.store.data(first, min(first + _UNIT, volume.size)))
            if is_new and freed:
                reused.append((unit, freed.pop()))
            elif not is_new and length <= BLOCK * 4 and offset % _UNIT + length <= _UNIT:
                deferred.append((offset, bytes(data)))
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Free whole units."""
        deferred, freed, _ = self.of(volume)
        for unit in {one[0] // _UNIT for one in deferred}:
            if unit in whole_blocks(offset, length, _UNIT):
                own = [one for one in deferred if one[0] // _UNIT == unit]
                freed.append([(at % _UNIT, data) for at, data in own])
                for one in own:
                    deferred.remove(one)
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Replay into the new units."""
        reused = self.of(volume)[2]
        self.put(volume, self.fresh())
        real(seed)
        for unit, spans in reused:
            for at, data in spans:
                if self.strikes():
                    _put(volume, unit * _UNIT + at, data)


class TruncatedWriteReplayed(VolumeMutant):
    """A log does not know that its volume was shorter after the writes in it."""

    id = "truncated-write-replayed"
    shows = ("lost write", "missing zeroes", "stale", "misplaced data")
    says = r"not zero"
    source = "class known from logs of writes beside truncations (ZFS ZIL, openzfs 1644e2ffd2)"
    breaks = "after a shrink and a growth, a power cut brings back what was cut off"

    def fresh(self) -> tuple[deque[Span], list[Span]]:
        """Start empty: recent writes, and those that were cut off."""
        return deque(maxlen=32), []

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note a write."""
        recent, gone = self.of(volume)
        gone[:] = apart(gone, offset, len(data))
        if fits(volume, offset, len(data), _UNIT):
            recent.append((offset, bytes(data)))
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget what is zeroed."""
        recent, gone = self.of(volume)
        gone[:] = apart(gone, offset, length)
        kept = apart(list(recent), offset, length)
        recent.clear()
        recent.extend(kept)
        real()

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Note what is cut off."""
        real(size)
        recent, gone = self.of(volume)
        for one in list(recent):
            if one[0] >= size:
                recent.remove(one)
                gone.append(one)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Replay it."""
        gone = self.of(volume)[1]
        self.put(volume, self.fresh())
        real(seed)
        for offset, data in gone:
            if offset + len(data) <= volume.size and self.strikes():
                _put(volume, offset, data)


class TornBlockUnreadable(VolumeMutant):
    """The checksum of a block that a power cut left between two versions fits neither of them."""

    id = "torn-block-unreadable"
    shows = ("error",)
    says = r"checksum|Input/output"
    source = "class known from checksums beside the data (dm-integrity without a journal)"
    breaks = "after a power cut, a 4 KiB block with an unflushed write of a part is unreadable"

    def fresh(self) -> set[int]:
        """Start without bad blocks."""
        return set()

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Fail."""
        data: bytes = real(offset, length)
        bad = self.of(volume)
        if bad and any(one in bad for one in blocks(offset, length)) and self.strikes():
            raise BlockError(errno.EIO, "checksum of a block")
        return data

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """A write makes a new checksum."""
        self.of(volume).difference_update(blocks(offset, len(data)))
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Zeroes need no checksum."""
        bad = self.of(volume)
        bad.difference_update([one for one in bad if one in blocks(offset, length)])
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Note the blocks that were being changed in part."""
        bad: set[int] = set()
        for start, end, old, old_size in _entries(volume):
            if isinstance(old, bytes) and old_size is None and end - start <= _UNIT:
                whole = whole_blocks(start, end - start)
                bad.update(one for one in blocks(start, end - start) if one not in whole)
        self.put(volume, bad)
        real(seed)


class CutExposesRecycled(VolumeMutant):
    """The map of a new block is durable before its data is, and the block was another one's."""

    id = "cut-exposes-recycled"
    shows = ("misplaced data", "stale", "lost write")
    source = "Open-CAS ocf issue 519 (status bits before data), ext4 data=writeback"
    breaks = "a first write that a power cut takes back leaves what was last zeroed elsewhere"

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Keep a block that is freed."""
        if fits(volume, offset, length, volume.size):
            for start, end in volume.store.data(offset, offset + length):
                inside = whole_blocks(start, end - start)
                if inside:
                    self.put(volume, volume.store.read(inside[-1] * BLOCK, BLOCK))
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Put it where a first write was lost."""
        recycled = self.of(volume)
        self.put(volume, None)
        new = [(start, end) for start, end, old, _ in _entries(volume)
               if recycled and isinstance(old, bytes) and not any(old)]  # fmt: skip
        real(seed)
        store = volume._powered  # noqa: SLF001  # a mutant changes code
        for start, end in new[:16]:
            for block in whole_blocks(start, end - start):
                is_inside = (block + 1) * BLOCK <= volume.size
                if is_inside and not any(store.read(block * BLOCK, BLOCK)) and self.strikes():
                    _put(volume, block * BLOCK, recycled)


class WholeZeroesVolatile(VolumeMutant):
    """Zeroes over the whole volume make it empty, and the flag "dirty" of its map is not set."""

    id = "whole-zeroes-volatile"
    shows = ("missing zeroes", "lost write")
    source = "class known from fast paths of format and clear (QEMU qcow2_make_empty)"
    breaks = "zeroes or a discard of the whole volume are not durable if a flush directly follows"

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Note that the volume is empty."""
        real()
        entries = _entries(volume)
        is_whole = offset == 0 and length == volume.size and not fua and bool(entries)
        self.put(volume, entries[-1] if is_whole else None)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """A write sets the flag."""
        self.put(volume, None)
        real(offset, data, fua)

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Leave the zeroes pending."""
        last = self.of(volume)
        real()
        cache = volume._cache  # noqa: SLF001  # a mutant changes code
        is_listed = last is not None and isinstance(last[2], list)
        if is_listed and cache is not None and self.strikes():
            _keep_zeroes(cache, [last])

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Start again."""
        self.put(volume, None)
        real(seed)


class FailedWriteAbortsFlush(Mutant):
    """A write that fails aborts the log; a flush of an aborted log has nothing to do."""

    id = "failed-write-aborts-flush"
    shows = ("lost write",)
    source = "class known from journals that abort on an error (jbd2, dm-log-writes)"
    breaks = "the first flush after a write that failed with EIO makes nothing durable"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Start with a good log."""
        self._is_aborted = False

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note a failure, and skip the flush."""
        if request.command is Command.FLUSH and self._is_aborted and self.strikes(request):
            self._is_aborted = False
            return Reply()
        try:
            return raising(below)(request)
        except BlockError as error:
            if request.command is Command.WRITE and error.errno == errno.EIO:
                self._is_aborted = True
            raise
