"""Epochs: the writes between two flushes, each of which may be lost, stored, or torn.

A flush makes durable what was logged before it. A write with FUA is durable when it is answered; it
orders no other writes. So a cut in an epoch may leave the durable image and any subset of the
writes of the epoch, later ones over earlier ones. But if a write after an answered FUA write is
there, the FUA write is there too.

A write in flight may be torn: only the first or only the last of its sectors (or 4096-byte blocks)
are there. Each such part is a variant of the write, in addition to the whole write. A state is a
mask with a bit for each variant of each write; at most one variant of a write is set.

Discards count as writes of zeroes: dm-log-writes replays them so, and the drivers of QEMU read them
so. The only order in a log is that of its entries. A write that was answered after a flush was
sent, and that was logged before the flush, counts as durable. So some states may be missed, but
every state that is given is possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from blockio.write_log import Entry, LogFlag


class Variant(NamedTuple):
    """A write, or a part of a torn one: bytes ``[offset, offset + length)``.

    ``data`` is None for zeroes; ``write`` is the number of the write within its epoch; ``entry``
    that of the log's entry.
    """

    offset: int
    length: int
    data: bytes | memoryview | None
    write: int
    entry: int
    torn: str = ""


class Epoch:
    """The writes between two flushes.

    :ivar number: 0 is the epoch before the first flush.
    :ivar first: its first entry of the log. ``end``: the entry after its last, a flush or the end.
    :ivar variants: of all writes in order; the whole write first, then its torn ones.
    :ivar wholes: the bit of each write as a whole.
    :ivar fuas: the numbers of the writes with FUA.
    """

    def __init__(self, number: int, first: int) -> None:
        self.number = number
        self.first = first
        self.end = first
        self.variants: list[Variant] = []
        self.wholes: list[int] = []
        self.groups: list[int] = []
        self.fuas: list[int] = []

    def __len__(self) -> int:
        return len(self.wholes)

    def add(self, position: int, entry: Entry, tear: int) -> None:
        """Add a write; ``tear`` is the unit in bytes that is never torn, 0 for whole writes."""
        write = len(self.wholes)
        data = None if entry.flags & LogFlag.DISCARD else entry.data
        bit = len(self.variants)
        whole = Variant(entry.offset, entry.length, data, write, position)
        group = [whole, *(_torn(whole, tear) if tear else ())]
        self.variants += group
        self.wholes.append(1 << bit)
        self.groups.append(((1 << len(group)) - 1) << bit)
        if entry.flags & LogFlag.FUA:
            self.fuas.append(write)

    def everything(self) -> int:
        """Return the mask of all writes, whole."""
        return sum(self.wholes)

    def is_legal(self, mask: int) -> bool:
        """Return whether every answered FUA write is there that precedes a write that is there."""
        return all(
            mask & self.wholes[fua] or not mask >> (self.groups[fua].bit_length())
            for fua in self.fuas
        )

    def limit(self, mask: int) -> int:
        """Return the last moment of this state: how many entries of the log may have been answered.

        A state without a FUA write can only be from before that write was answered.
        """
        for fua in self.fuas:
            if not mask & self.wholes[fua]:
                return self.variants[self.wholes[fua].bit_length() - 1].entry
        return self.end

    def states(self) -> int:
        """Return how many masks are legal."""
        total, product = 0, 1
        fuas = set(self.fuas)
        for write, group in enumerate(self.groups):
            options = 1 + group.bit_count()
            if write in fuas:
                # A cut before it is answered: any variants before it, and this one not whole.
                total += product * (options - 1)
            else:
                product *= options
        return total + product


def _torn(whole: Variant, tear: int) -> Iterator[Variant]:
    """Yield torn variants: first or last units, cut after the first, in the middle, at the end.

    The cuts are at multiples of the unit on the disk, also where the write is not aligned.
    """
    begin, end = whole.offset, whole.offset + whole.length
    cuts = range(begin - begin % tear + tear, end, tear)  # no list: a discard may have 2 TiB
    for cut in sorted({cuts[0], cuts[len(cuts) // 2], cuts[-1]} if cuts else ()):
        yield _part(whole, begin, cut)
        yield _part(whole, cut, end)


def _part(whole: Variant, begin: int, end: int) -> Variant:
    start = begin - whole.offset
    data = None if whole.data is None else whole.data[start : start + end - begin]
    which = "first" if not start else "last"
    text = f"only the {which} {end - begin} of {whole.length} bytes"
    return Variant(begin, end - begin, data, whole.write, whole.entry, text)


def epochs(log: Sequence[Entry], tear: int = 512) -> list[Epoch]:
    """Cut a log into epochs. The last one ends where the log ends.

    :param tear: bytes that a disk writes atomically; 0: writes are never torn.
    """
    if tear and (tear < 512 or tear & (tear - 1)):
        raise ValueError(f"tear {tear} is not a power of two of at least 512 bytes")
    found = [Epoch(0, 0)]
    for position, entry in enumerate(log):
        if entry.flags & LogFlag.MARK:
            continue
        if entry.flags & LogFlag.FLUSH:
            found[-1].end = position
            found.append(Epoch(len(found), position + 1))
        if entry.length:  # also of a write with FLUSH: the flush comes before the write
            if entry.flags & LogFlag.FLUSH:
                found[-1].first = position
            found[-1].add(position, entry, tear)
    found[-1].end = len(log)
    return found
