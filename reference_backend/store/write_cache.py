"""The volatile write cache of a volume: the acknowledged changes that a power cut may still lose.

The store always holds the newest bytes, so reads cost nothing. An undo log has one entry for each
pending operation, in the order of acknowledgement, with the old contents of its sectors. If n
pending operations touched a sector, the sector has n+1 versions: the durable one, and the result of
each operation. The log holds the first n versions, the store the last. A flush empties the log.

A power cut walks the log from the newest entry to the oldest. For each run of sectors, the chooser
decides *kept* (these sectors have their final version; undo them no further) or *lost* (restore the
old contents and continue). So each sector ends as one of its n+1 versions and never as another
value. Each sector of an operation is decided alone: writes are lost, torn and reordered like in
real write caches.

- FUA adds a barrier: its sectors are kept, whatever older entries contain. Other pending operations
  stay pending, as the NBD document allows ("Command flags", NBD_CMD_FLAG_FUA). So a client that
  relies on FUA to flush them fails.
- A resize is one decision. Operations after a lost resize are lost too.
- The log is limited in bytes. Entries that do not fit become durable, oldest first, like in a real
  cache that destages. An operation larger than the whole log makes everything durable.

This module has no lock, no store and no clock, and is tested alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from reference_backend.store.ranges import RangeSet

SECTOR_BYTES = 512
"""Bytes that a power cut never tears: every disk writes a sector atomically."""
DEFAULT_LIMIT_BYTES = 64 << 20
"""Default limit of old contents; disks have caches of 64 to 256 MiB."""
_ENTRY_BYTES = 256
"""Bytes of an entry without its contents: tuple, integers, bytes header."""
_VOLUME_END = 1 << 63
_MOST_RUNS = 64

Pieces = Sequence[tuple[int, bytes]]
"""Old contents as (offset, bytes) in order; gaps between pieces were holes."""


class Chooser(Protocol):
    """The source of a power cut's decisions, for example ``random.Random``."""

    def randrange(self, start: int, stop: int) -> int:
        """Return an integer in ``[start, stop)``."""
        ...


class Undoable(Protocol):
    """The store whose newest contents the log can undo."""

    size: int

    def write(self, offset: int, data: bytes) -> None:
        """Store bytes."""
        ...

    def zero(self, offset: int, length: int, allocate: bool) -> None:
        """Zero a range."""
        ...

    def resize(self, size: int) -> None:
        """Set the size in bytes."""
        ...


class _Entry(NamedTuple):
    """One pending operation on ``[start, end)``.

    ``old`` is the old contents of the range, or None for a barrier. ``old_size`` is the volume's
    size before a resize, else None.
    """

    start: int
    end: int
    old: bytes | Pieces | None
    old_size: int | None = None


_AnyEntry = _Entry | tuple[int, int, bytes, None]
"""Overwrites are plain tuples, because making a NamedTuple takes three times as long."""


class WriteCache:
    """The undo log of one volume.

    :param limit: most bytes of old contents and bookkeeping, at least 0.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT_BYTES) -> None:
        self.limit = limit
        self.largest = limit - _ENTRY_BYTES
        """Bytes of the longest overwrite that can be held at all."""
        self._entries: deque[_AnyEntry] = deque()
        self._bytes = 0
        self._fallen = 0
        self._resizes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def pending_bytes(self) -> int:
        """Bytes of old contents and bookkeeping held, at most ``limit``."""
        return self._bytes

    def record(self, start: int, end: int, old: bytes) -> None:
        """Record that ``[start, end)``, whole sectors, held ``old`` and is overwritten."""
        self._entries.append((start, end, old, None))
        self._bytes += len(old) + _ENTRY_BYTES
        if self._bytes > self.limit:
            self._evict()

    def record_pieces(self, start: int, end: int, pieces: Pieces) -> None:
        """Record that ``[start, end)``, whole sectors, held ``pieces`` and holes, and is zeroed."""
        self._append(_Entry(start, end, pieces))

    def record_resize(self, old_size: int, new_size: int, pieces: Pieces) -> None:
        """Record a resize; ``pieces`` is the contents that a shrink removes."""
        self._resizes += 1
        start = min(old_size, new_size) & -SECTOR_BYTES
        self._append(_Entry(start, _VOLUME_END, pieces, old_size))

    def record_barrier(self, start: int, end: int) -> None:
        """Record that the present contents of ``[start, end)`` are durable (FUA).

        An earlier pending resize becomes durable too, with all entries before it, because durable
        sectors must be inside the volume.
        """
        if self._resizes:
            last = max(at for at, e in enumerate(self._entries) if e[3] is not None)
            self.settle(self._fallen + last + 1)
        if self._entries:
            self._append(_Entry(start & -SECTOR_BYTES, _sector_up(end), None))

    def mark(self) -> int:
        """Return a mark after the newest entry, for :meth:`settle`."""
        return self._fallen + len(self._entries)

    def settle(self, mark: int) -> None:
        """Record that everything before ``mark`` is durable."""
        while self._entries and self._fallen < mark:
            self._drop_oldest()

    def clear(self) -> None:
        """Record that everything is durable."""
        self._fallen += len(self._entries)
        self._entries.clear()
        self._bytes = 0
        self._resizes = 0

    def _append(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._bytes += _cost(entry)
        if self._bytes > self.limit:
            self._evict()

    def _evict(self) -> None:
        entries, limit = self._entries, self.limit
        while self._bytes > limit:
            old = entries[0][2]
            if type(old) is bytes:  # an overwrite: the most frequent case when the log is full
                entries.popleft()
                self._fallen += 1
                self._bytes -= len(old) + _ENTRY_BYTES
            else:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        entry = self._entries.popleft()
        self._fallen += 1
        self._bytes -= _cost(entry)
        if entry[3] is not None:
            self._resizes -= 1

    def power_cut(self, store: Undoable, chooser: Chooser) -> None:
        """Bring the store to a state that a power cut may leave, and clear the log."""
        entries = [_Entry(*entry) for entry in self._entries]
        self.clear()
        resizes = [at for at, entry in enumerate(entries) if entry.old_size is not None]
        lost_from = len(entries)
        if resizes:
            at = chooser.randrange(0, len(resizes) + 1)
            lost_from = resizes[at] if at < len(resizes) else lost_from
        for entry in reversed(entries[lost_from:]):
            if entry.old_size is not None:
                store.resize(entry.old_size)
            _undo(store, entry, entry.start, entry.end)
        survived = RangeSet()
        for entry in reversed(entries[:lost_from]):
            runs = _runs(entry, chooser)
            for start, end in runs[False]:
                for lost_start, lost_end in list(survived.outside(start, end)):
                    _undo(store, entry, lost_start, lost_end)
            for start, end in runs[True]:
                survived.add(start, end)


def _sector_up(offset: int) -> int:
    return (offset + SECTOR_BYTES - 1) & -SECTOR_BYTES


def _cost(entry: _AnyEntry) -> int:
    old = entry[2]
    if old is None or isinstance(old, bytes):
        return _ENTRY_BYTES + len(old or b"")
    return _ENTRY_BYTES + sum(_ENTRY_BYTES + len(data) for _, data in old)


def _runs(entry: _Entry, chooser: Chooser) -> dict[bool, list[tuple[int, int]]]:
    """Decide which runs of sectors of an entry survive (True) and which are lost (False)."""
    start, end, old, old_size = entry
    runs: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    if old is None or old_size is not None:
        runs[True].append((start, end))
        return runs
    sectors = (end - start + SECTOR_BYTES - 1) // SECTOR_BYTES
    kept = bool(chooser.randrange(0, 2))
    cuts: set[int] = set()
    if sectors > 1 and chooser.randrange(0, 2):  # torn
        count = chooser.randrange(1, min(sectors, _MOST_RUNS))
        cuts = {chooser.randrange(1, sectors) for _ in range(count)}
    for cut in (*sorted(cuts), sectors):
        stop = min(end, entry.start + cut * SECTOR_BYTES)
        runs[kept].append((start, stop))
        start, kept = stop, not kept
    return runs


def _undo(store: Undoable, entry: _Entry, start: int, end: int) -> None:
    """Restore the contents of ``[start, end)`` before the entry's operation."""
    end = min(end, store.size)
    old = entry.old
    if old is None or start >= end:
        return
    if isinstance(old, bytes):
        store.write(start, old[start - entry.start : end - entry.start])
        return
    store.zero(start, end - start, allocate=False)
    for at, data in old:
        first, after = max(start, at), min(end, at + len(data))
        if first < after:
            store.write(first, data[first - at : after - at])
