"""Equal blocks, reads across pages of snapshots and clones, removed snapshots (docs/bugs.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, changed, whole_blocks
from mutants.patching import change_snapshots, replace
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

_PAGE = 4096
_CLUSTER = 65536


class DedupSharedFreed(RequestMutant):
    """Equal blocks are stored once, without a count of their users."""

    id = "dedup-shared-freed"
    shows = ("zeroed",)
    source = "deduplicating stores (docs/bugs.md)"
    breaks = "a discard of one of two equal blocks of 4 KiB zeroes the other"
    commands = (Command.TRIM,)

    def install(self) -> None:
        """Start with no block known."""
        self._hash_of: dict[int, int] = {}

    def observe(self, request: Request) -> None:
        """Note the hash of each block that is written as a whole."""
        if request.command not in (Command.WRITE, Command.WRITE_ZEROES):
            return
        whole = whole_blocks(request.offset, request.length)
        if len(whole) > 1 << 12:
            return
        for number in range(request.offset // BLOCK, whole.stop + 1):
            self._hash_of.pop(number, None)
        for number in whole if request.command is Command.WRITE else ():
            at = number * BLOCK - request.offset
            self._hash_of[number] = hash(bytes(request.payload[at : at + BLOCK]))

    def damages(self, request: Request) -> bool:
        """Return whether a whole discarded block has an equal one elsewhere."""
        return bool(self._victims(request))

    def _victims(self, request: Request) -> list[int]:
        freed = whole_blocks(request.offset, request.length)
        hashes = {self._hash_of[one] for one in freed if one in self._hash_of}
        return [one for one, seen in self._hash_of.items() if seen in hashes and one not in freed]

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the equal blocks too."""
        for number in self._victims(request):
            del self._hash_of[number]
            below(changed(request, Command.WRITE_ZEROES, number * BLOCK, BLOCK, b"", 0))
        return below(changed(request))


class ZeroDetectDropsPart(RequestMutant):
    """Zeroes are detected in writes, and turned into a discard of whole blocks."""

    id = "zero-detect-drops-part"
    shows = ("missing zeroes", "torn", "lost write")
    source = "QEMU detect-zeroes=unmap (docs/bugs.md)"
    breaks = "a plain write of zeroes zeroes only the whole blocks of 4 KiB in it"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether there are zeroes only, and a part block."""
        return bool((request.offset | request.length) % BLOCK) and not any(request.payload)

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the whole blocks."""
        whole = whole_blocks(request.offset, request.length)
        if not whole:
            return Reply()
        start = whole.start * BLOCK
        return below(changed(request, offset=start, payload=bytes(len(whole) * BLOCK)))


class EqualWriteSkipped(RequestMutant):
    """A write with the checksum of the one before is taken for its repetition."""

    id = "equal-write-skipped"
    shows = ("lost write", "torn")
    source = "replay detection in journals (docs/bugs.md)"
    breaks = "a write with the same data as the write before it, elsewhere, is not carried out"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with no write."""
        self._last = self._now = (-1, 0)

    def observe(self, request: Request) -> None:
        """Note the last write."""
        if request.command is Command.WRITE:
            self._last, self._now = self._now, (request.offset, hash(bytes(request.payload)))

    def damages(self, request: Request) -> bool:
        """Return whether the write before had the same data and another offset."""
        return self._now[1] == self._last[1] and self._now[0] != self._last[0]

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the request."""
        return Reply()


class SnapshotReadAcrossPages(Mutant):
    """A read of a snapshot looks its second page up by the wrong number."""

    id = "snapshot-read-across-pages"
    shows = ("misplaced data",)
    source = "copy-on-write stores with a page table (docs/bugs.md)"
    breaks = "a read of a snapshot that starts inside a page and crosses it skips a page"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Patch the reads of snapshots."""

        def change(_pool: MemoryPool, _name: str, _snapshot: str, volume: Volume) -> None:
            setattr(volume, "read", _skips_a_page(volume, self.strikes))  # noqa: B010

        change_snapshots(change)


def _skips_a_page(volume: Volume, strikes: Callable[[], bool]) -> Callable[[int, int], bytes]:
    saved = volume.read

    def read(offset: int, length: int) -> bytes:
        right = saved(offset, length)
        head = -offset % _PAGE
        end = offset + length + _PAGE
        if not 0 < head < length or end > volume.size:
            return right
        wrong = saved(offset, head) + saved(offset + head + _PAGE, length - head)
        return wrong if wrong != right and strikes() else right

    return read


class CloneReadAcrossHole(Mutant):
    """A read of a clone takes the answer of its first cluster for all."""

    id = "clone-read-across-hole"
    shows = ("zeroed", "lost write")
    source = "clones with a bitmap of clusters (docs/bugs.md)"
    breaks = "a read of a clone that starts in the last page of a hole and leaves it returns zeroes"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Patch the reads of clones."""
        clones: set[str] = set()

        def clone(real: Any) -> Any:
            def make(pool: MemoryPool, name: str, snapshot: str, new: str) -> None:
                real(pool, name, snapshot, new)
                clones.add(new)

            return make

        def open_(real: Any) -> Any:
            def open_volume(pool: MemoryPool, name: str) -> Volume:
                volume: Volume = real(pool, name)
                if name in clones:
                    setattr(volume, "read", _zero_behind(volume, self.strikes))  # noqa: B010
                return volume

            return open_volume

        replace(MemoryPool, "_clone", clone)
        replace(MemoryPool, "_open_volume", open_)


def _zero_behind(volume: Volume, strikes: Callable[[], bool]) -> Callable[[int, int], bytes]:
    saved = volume.read

    def read(offset: int, length: int) -> bytes:
        right = saved(offset, length)
        head = -offset % _PAGE
        if not 0 < head < length or any(right[:head]) or not any(right):
            return right
        is_hole = volume.block_status(offset, head)[0].flags & 1
        return bytes(length) if is_hole and strikes() else right

    return read


class SnapshotRemovalLosesUnchanged(Mutant):
    """The removal of the newest snapshot frees what the volume shares with it."""

    id = "snapshot-removal-loses-unchanged"
    shows = ("zeroed",)
    source = "variant of snapshot-delete-shared-block"
    breaks = "after the newest snapshot is removed, a power cut zeroes data not rewritten since it"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Note the shared chunks of each removal, and drop them at the next power cut."""
        freed: dict[int, set[int]] = {}

        def delete(real: Any) -> Any:
            def delete_snapshot(store: MemoryStore, name: str) -> None:
                if store.snapshots()[-1] == name:
                    mine, theirs = store._chunks, store.open_snapshot(name)._chunks  # noqa: SLF001
                    same = {at for at, chunk in mine.items() if theirs.get(at) is chunk}
                    freed.setdefault(id(store), set()).update(same)
                real(store, name)

            return delete_snapshot

        def cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                store = volume._powered  # noqa: SLF001
                for at in freed.pop(id(store), ()):
                    if self.strikes():
                        store.zero(at << 20, min(1 << 20, store.size - (at << 20)), allocate=False)

            return power_cut

        replace(MemoryStore, "delete_snapshot", delete)
        replace(Volume, "power_cut", cut)
