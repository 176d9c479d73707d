"""Caches, copies and buffers: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants import clock
from mutants.mutant import BLOCK, Mutant, blocks, raising, read, whole_blocks, write
from mutants.volume_mutant import Real, Span, VolumeMutant, apart, fits
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536
MIB = 1 << 20


class FailedFillServesEvicted(Mutant):
    """A line of a cache whose fill failed keeps the data of the line that it replaced."""

    id = "failed-fill-serves-evicted"
    shows = ("misplaced data", "lost write")
    source = "Open-PS2-Loader PR 650 (block cache: a refill that fails)"
    breaks = "a read after one that failed returns other data than that of the place, until a write"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with an empty line."""
        self._line: tuple[int, bytes] = (-1, b"")
        self._bad: dict[int, bytes] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the line, and return it for a block that could not be read."""
        with self._lock:
            here = blocks(request.offset, request.length)
            if request.command in _CHANGES:
                for block in [one for one in self._bad if one in here]:
                    del self._bad[block]
            if request.command is not Command.READ:
                return below(request)
            try:
                reply = raising(below)(request)
            except BlockError:
                number, line = self._line
                if line and number not in here:
                    self._bad.update(dict.fromkeys(here[:16], line))
                raise
            data = bytearray(reply.data)
            if request.offset % BLOCK == 0 and len(data) >= BLOCK:
                self._line = (here[0], bytes(data[:BLOCK]))
            for block in (one for one in list(self._bad) if one in here):
                at = max(block * BLOCK - request.offset, 0)
                end = min((block + 1) * BLOCK - request.offset, len(data))
                start = at + request.offset - block * BLOCK
                old = self._bad[block][start : start + end - at]
                if data[at:end] != old and self.strikes(request):
                    data[at:end] = old
            reply.data = bytes(data)
            return reply


class PartialHitReadsDisk(VolumeMutant):
    """A read that is partly in the cache takes from the disk what is only partly cached."""

    id = "partial-hit-reads-disk"
    shows = ("lost write", "misplaced data", "changing")
    source = "Open-CAS ocf PR 373 (partial hits in write-only mode)"
    breaks = (
        "an unflushed write of a part of a 4 KiB block is not seen by reads that cover more blocks"
    )

    def fresh(self) -> dict[int, bytes]:
        """Start with a clean cache."""
        return {}

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note the old data of a block that is written in part."""
        lines, length = self.of(volume), len(data)
        here, whole = blocks(offset, length), whole_blocks(offset, length)
        for block in whole:
            lines.pop(block, None)
        if fits(volume, offset, length, MIB) and not fua:
            for block in (one for one in here if one not in whole):
                rest = min(BLOCK, volume.size - block * BLOCK)
                lines.setdefault(block, volume.store.read(block * BLOCK, rest))
        else:
            for block in here:
                lines.pop(block, None)
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget what is zeroed."""
        lines = self.of(volume)
        for block in [one for one in lines if one in blocks(offset, length)]:
            del lines[block]
        real()

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Take the old data of such blocks, if the read covers another block."""
        data: bytes = real(offset, length)
        lines, here = self.of(volume), whole_blocks(offset, length)
        hit = [one for one in here if one in lines]
        if not hit or len(hit) == len(blocks(offset, length)) or not self.strikes():
            return data
        wrong = bytearray(data)
        for block in hit:
            at = block * BLOCK - offset
            wrong[at : at + len(lines[block])] = lines[block]
        return bytes(wrong)

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Everything is on the disk."""
        self.put(volume, {})
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Everything is on the disk."""
        self.put(volume, {})
        real(seed)


class DeletedObjectReadOnce(VolumeMutant):
    """An object that was deleted is still found for a moment."""

    id = "deleted-object-read-once"
    shows = ("missing zeroes", "lost write", "changing", "altered")
    says = r"not zero"
    source = "s3backer issue 135 (stale content after a deletion)"
    breaks = "the first read of a 64 KiB object that was zeroed as a whole returns its old data"

    def fresh(self) -> OrderedDict[int, bytes]:
        """Start without deleted objects."""
        return OrderedDict()

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """A new object is found at once."""
        for unit in blocks(offset, len(data), _UNIT):
            self.of(volume).pop(unit, None)
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Keep the last 64 objects."""
        gone = self.of(volume)
        if not is_discard and fits(volume, offset, length, 16 * MIB):
            for unit in whole_blocks(offset, length, _UNIT):
                old = volume.store.read(unit * _UNIT, _UNIT)
                if any(old):
                    gone[unit] = old
            while len(gone) > 64:
                gone.popitem(last=False)
        real()

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Return a deleted object once."""
        data = bytearray(real(offset, length))
        gone = self.of(volume)
        for unit in (one for one in list(gone) if one in blocks(offset, length, _UNIT)):
            old, base = gone.pop(unit), unit * _UNIT
            if self.strikes():
                start, end = max(base, offset), min(base + _UNIT, offset + length)
                data[start - offset : end - offset] = old[start - base : end - base]
        return bytes(data)


class DedupIndexNotUpdated(VolumeMutant):
    """The index of hashes still points to a block whose contents were replaced."""

    id = "dedup-index-not-updated"
    shows = ("misplaced data", "lost write")
    source = "class known from deduplication (stale entries of the index of hashes)"
    breaks = (
        "a block of 4 KiB with the former contents of another block is stored as this one is now"
    )

    def fresh(self) -> dict[bytes, int]:
        """Start with an empty index."""
        return {}

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Store a block as the one of the index."""
        if not fits(volume, offset, len(data), MIB):
            real(offset, data, fua)
            return
        index, wrong = self.of(volume), bytearray(data)
        for block in whole_blocks(offset, len(data)):
            at = block * BLOCK - offset
            content = bytes(data[at : at + BLOCK])
            where = index.get(content)
            if where is None:
                if any(content) and len(index) < 8192:
                    index[content] = block
            elif where != block and (where + 1) * BLOCK <= volume.size:
                now = volume.store.read(where * BLOCK, BLOCK)
                if now != content and self.strikes():
                    wrong[at : at + BLOCK] = now
        real(offset, bytes(wrong), fua)


class BounceSectorKept(VolumeMutant):
    """The sector that an unaligned read fetched is used for the next one."""

    id = "bounce-sector-kept"
    shows = ("lost write", "misplaced data", "changing")
    source = "class known from bounce buffers (cloud-hypervisor issue 8007, nbdkit blocksize)"
    breaks = "a read inside the sector of the last such read misses aligned writes since then"

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Keep the sector, or use it."""
        data: bytes = real(offset, length)
        sector = offset // 512
        is_inside = (offset + length - 1) // 512 == sector and 0 < length < 512
        if not is_inside:
            return data
        kept = self.of(volume)
        at = offset % 512
        if kept is None or kept[0] != sector or len(kept[1]) < at + length:
            rest = min(512, volume.size - sector * 512)
            self.put(volume, (sector, volume.store.read(sector * 512, rest)))
            return data
        old: bytes = kept[1][at : at + length]
        return old if old != data and self.strikes() else data

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Unaligned writes use the same buffer."""
        real(offset, data, fua)
        kept = self.of(volume)
        if kept is not None and (offset % 512 or len(data) % 512):
            self.put(volume, None)


class WriteThroughLimitUndone(VolumeMutant):
    """Above the limit of dirty data, writes go to the disk; the older version follows them."""

    id = "write-through-limit-undone"
    shows = ("lost write", "misplaced data", "changing")
    source = "class known from write-back caches with a limit (s3backer issue 25, bcache)"
    breaks = (
        "with over 4 MiB unflushed, a flush brings back what an overwrite of up to 64 KiB replaced"
    )

    def fresh(self) -> tuple[set[int], list[Span], list[int]]:
        """Start with a clean cache."""
        return set(), [], [0]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Above the limit, remember what the cache still has."""
        dirty, older, total = self.of(volume)
        length = len(data)
        older[:] = apart(older, offset, length)
        if fits(volume, offset, length, _UNIT) and not fua:
            whole = whole_blocks(offset, length)
            if total[0] > 4 * MIB and whole and dirty.issuperset(whole):
                old = volume.store.read(whole[0] * BLOCK, len(whole) * BLOCK)
                older.append((whole[0] * BLOCK, old))
        if not fua:
            total[0] += length
            dirty.update(blocks(offset, length))
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Zeroes remove what is cached."""
        dirty, older, _ = self.of(volume)
        older[:] = apart(older, offset, length)
        for block in [one for one in dirty if one in blocks(offset, length)]:
            dirty.discard(block)
        real()

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Write the cache back."""
        _, older, _ = self.of(volume)
        self.put(volume, self.fresh())
        for offset, data in older:
            if offset + len(data) <= volume.size and self.strikes():
                volume.store.write(offset, data)
        real()


class CacheKeyWithoutVolume(VolumeMutant):
    """A cache of reads is looked up by offset and length, not by volume."""

    id = "cache-key-without-volume"
    shows = ("foreign", "misplaced data", "lost write", "newer", "changing")
    says = r"unlike"
    source = "class known from caches that several volumes share (ganesha, tgt backing stores)"
    breaks = "a read returns what a read of the same range of another volume or snapshot returned"

    def install(self) -> None:
        """Start with an empty cache."""
        super().install()
        self._cached: OrderedDict[tuple[int, int], tuple[int, bytes]] = OrderedDict()

    def _forget(self, offset: int, length: int) -> None:
        for start, size in list(self._cached):
            if start < offset + length and offset < start + size:
                del self._cached[start, size]

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Look the range up."""
        data: bytes = real(offset, length)
        if not 0 < length <= _UNIT:
            return data
        found = self._cached.get((offset, length))
        if found is not None and found[0] != id(volume):
            return found[1] if found[1] != data and self.strikes() else data
        self._cached[offset, length] = id(volume), data
        while len(self._cached) > 16:
            self._cached.popitem(last=False)
        return data

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Forget what is written."""
        self._forget(offset, len(data))
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget what is zeroed."""
        self._forget(offset, length)
        real()

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Forget everything."""
        self._cached.clear()
        real(size)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Forget everything."""
        self._cached.clear()
        real(seed)


class GcRestoresOld(VolumeMutant):
    """The cleaning of a log moves a block that has been overwritten since it was chosen."""

    id = "gc-restores-old"
    shows = ("lost write", "misplaced data")
    source = "class known from cleaning of logs (SPDK lib/ftl, dm-zoned, flash)"
    breaks = "with each 8 MiB that are written, the write before the last one is taken back"

    def fresh(self) -> tuple[deque[Span], list[int]]:
        """Start with an empty log."""
        return deque(maxlen=2), [0]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Clean after each 8 MiB."""
        recent, total = self.of(volume)
        length = len(data)
        before, total[0] = total[0], total[0] + length
        old = b""
        if fits(volume, offset, length, _UNIT):
            old = volume.store.read(offset, length)
        real(offset, data, fua)
        kept = apart(list(recent), offset, length)
        recent.clear()
        recent.extend(kept)
        if before // (8 * MIB) != total[0] // (8 * MIB) and kept:
            at, was = kept[-1]
            if at + len(was) <= volume.size and self.strikes():
                volume.store.write(at, was)
        if old:
            recent.append((offset, old))

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget the last writes."""
        self.of(volume)[0].clear()
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Forget the last writes."""
        self.of(volume)[0].clear()
        real(seed)


class FailedFlushDropsDirty(Mutant):
    """Pages that a flush could not write are marked as clean, and read again from the disk."""

    id = "failed-flush-drops-dirty"
    shows = ("lost write", "misplaced data", "changing")
    source = (
        "class known from page caches (Linux and PostgreSQL: the result of fsync is reported once)"
    )
    breaks = "after a flush that failed, the writes since the flush before it are gone"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Start with a clean cache."""
        self._old: deque[Span] = deque(maxlen=128)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note old data, and restore it when a flush fails."""
        ask = raising(below)
        with self._lock:
            if request.command is Command.FLUSH:
                old = list(self._old)
                self._old.clear()
                try:
                    return ask(request)
                except BlockError:
                    if old and self.strikes(request):
                        for offset, data in reversed(old):
                            write(request, ask, offset, data)
                    raise
            if request.command in _CHANGES:
                old_here: bytes | None = None
                if not request.flags & CommandFlag.FUA and 0 < request.length <= _UNIT:
                    try:
                        old_here = read(request, ask, request.offset, request.length)
                    except BlockError:  # beyond the end
                        return below(request)
                reply = ask(request)
                if old_here is None:
                    kept = apart(list(self._old), request.offset, request.length)
                    self._old = deque(kept, maxlen=128)
                else:
                    self._old.append((request.offset, old_here))
                return reply
            return below(request)


class ReplicasOrderDiffers(Mutant):
    """Two replicas carry out two writes of different clients in different orders."""

    id = "replicas-order-differs"
    shows = ("changing", "lost write", "misplaced data")
    source = "class known from replication without an order (DRBD concurrent writes)"
    breaks = "of two writes of one range by two clients within 5 ms, reads alternate between both"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with equal replicas."""
        self._newest: OrderedDict[tuple[int, int], tuple[float, int, bytes]] = OrderedDict()
        self._other: dict[tuple[int, int], bytes] = {}
        self._turn = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the older write, and return it to every second read."""
        key, end = (request.offset, request.length), request.offset + request.length
        with self._lock:
            if request.command in _CHANGES:
                before = self._newest.get(key)
                for at, size in list(self._newest):
                    if at < end and request.offset < at + size:
                        self._newest.pop((at, size))
                        self._other.pop((at, size), None)
                if request.command is Command.WRITE and 0 < request.length <= _UNIT:
                    now_s = clock.now_s()
                    if before and before[1] != request.connection and now_s - before[0] < 0.005:
                        self._other[key] = before[2]
                    self._newest[key] = now_s, request.connection, bytes(request.payload)
                    while len(self._newest) > 256:
                        self._other.pop(self._newest.popitem(last=False)[0], None)
            reply = below(request)
            if request.command is not Command.READ or reply.error:
                return reply
            hit = [
                one for one in self._other if request.offset <= one[0] and one[0] + one[1] <= end
            ]
            self._turn += bool(hit)
            if hit and self._turn % 2 and self.strikes(request):
                data = bytearray(reply.data)
                for at, size in hit:
                    data[at - request.offset : at - request.offset + size] = self._other[at, size]
                reply.data = bytes(data)
            return reply
