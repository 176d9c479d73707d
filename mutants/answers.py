"""Block status and change tracking that leave something out (docs/bugs.md)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from blockio.extents import STATE_DIRTY, STATE_HOLE, STATE_ZERO, Extent
from blockio.layers import Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, StatusMutant
from mutants.patching import replace
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_ALLOCATION, _DIRTY = "base:allocation", "qbd:dirty"
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_EMPTY = STATE_HOLE | STATE_ZERO


class StatusMergedByHoleBit(StatusMutant):
    """Extents are merged if one of their two bits is equal."""

    id = "status-merged-by-hole-bit"
    shows = ("block status",)
    says = r"status"
    source = "class known from merging of extents"
    breaks = "data behind allocated zeroes is reported as zeroes"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether data follows allocated zeroes."""
        found = reply.extents.get(_ALLOCATION, ())
        flags = [one.flags for one in found]
        return any(pair == (STATE_ZERO, 0) for pair in pairwise(flags))

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Merge."""
        merged: list[Extent] = []
        for one in reply.extents[_ALLOCATION]:
            if merged and merged[-1].flags == STATE_ZERO and one.flags == 0:
                merged[-1] = Extent(merged[-1].length + one.length, STATE_ZERO)
            else:
                merged.append(one)
        reply.extents[_ALLOCATION] = merged


class StatusTailIsHole(StatusMutant):
    """The part of a block at the end of a range is left out of the map."""

    id = "status-tail-is-hole"
    shows = ("block status", "zeroed")
    says = r"status"
    source = "class known from maps in whole blocks (nbdkit and libnbd tails, docs/bugs.md)"
    breaks = "block status that ends inside a block of 4 KiB calls this part of the block a hole"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the range ends inside a block that has data."""
        extents = reply.extents.get(_ALLOCATION, ())
        length = sum(one.length for one in extents)
        tail = (request.offset + length) % BLOCK
        return length == request.length and bool(tail) and 0 < tail < extents[-1].length

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Split the last extent."""
        *rest, last = reply.extents[_ALLOCATION]
        tail = (request.offset + request.length) % BLOCK
        whole = Extent(last.length - tail, last.flags)
        reply.extents[_ALLOCATION] = [*rest, whole, Extent(tail, _EMPTY)]


class StatusOverflowIsHole(StatusMutant):
    """The extents that do not fit into a reply become one hole."""

    id = "status-overflow-is-hole"
    shows = ("block status", "zeroed")
    says = r"status"
    source = "class known from limits of extents (nbdkit 6e0dc839)"
    breaks = "of more than 32 extents, those behind the 32nd are reported as one hole"
    MOST = 32

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether there are more extents."""
        return len(reply.extents.get(_ALLOCATION, ())) > self.MOST

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Replace the rest."""
        found = list(reply.extents[_ALLOCATION])
        rest = sum(one.length for one in found[self.MOST :])
        reply.extents[_ALLOCATION] = [*found[: self.MOST], Extent(rest, _EMPTY)]


class DirtyEndRoundedDown(Mutant):
    """The end of a change is rounded down to a granule."""

    id = "dirty-end-rounded-down"
    shows = ("block status",)
    says = r"dirty|changed, but"
    source = "class known from rounding of bitmap granules (Mayastor 5489802d)"
    breaks = "the last granule of a write that crosses into it and ends inside it stays clean"
    takes = ALWAYS

    def install(self) -> None:
        """Clear the last granule unless it was dirty."""

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                dirty = volume._dirty  # noqa: SLF001  # a mutant changes code
                last = (offset + len(data)) // BLOCK
                was_dirty = dirty is None or any(dirty.inside(last, last + 1))
                real(volume, offset, data, fua)
                is_part = (offset + len(data)) % BLOCK and last > offset // BLOCK
                if dirty is not None and is_part and not was_dirty and self.strikes():
                    dirty.remove(last, last + 1)

            return write

        replace(Volume, "write", make)


class DirtyClearedByAsking(StatusMutant):
    """A question clears the bits that it reads."""

    id = "dirty-cleared-by-asking"
    shows = ("block status",)
    says = r"dirty|changed, but"
    source = "class known from bitmaps that are read and cleared in one step"
    breaks = "what one block status reported as dirty is clean in the next one"

    def install(self) -> None:
        """Start with nothing asked."""
        self._asked = RangeSet()

    def observe(self, request: Request) -> None:
        """Note changes."""
        if request.command in _CHANGES:
            self._asked.remove(
                request.offset & -BLOCK, request.offset + request.length + 4095 & -BLOCK
            )

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether a dirty range was asked about before; note it."""
        at = request.offset
        self._new: list[Extent] = []
        for one in reply.extents.get(_DIRTY, ()):
            is_old = one.flags == STATE_DIRTY and any(
                first <= at and after >= at + one.length
                for first, after in self._asked.inside(at, at + one.length)
            )
            self._new.append(Extent(one.length, 0) if is_old else one)
            if one.flags == STATE_DIRTY:
                self._asked.add(at, at + one.length)
            at += one.length
        return self._new != list(reply.extents.get(_DIRTY, ()))

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Report them as clean."""
        length = sum(one.length for one in self._new)
        is_clean = not any(one.flags for one in self._new)
        reply.extents[_DIRTY] = [Extent(length, 0)] if is_clean else self._new


class DirtyRangesDropped(Mutant):
    """A list of dirty ranges has a limit."""

    id = "dirty-ranges-dropped"
    shows = ("block status",)
    says = r"dirty|changed, but"
    source = "class known from change logs of limited size"
    breaks = "of more than 64 separate dirty ranges, the first one is forgotten"
    takes = ALWAYS
    MOST = 64

    def install(self) -> None:
        """Drop the first range."""

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                real(volume, offset, data, fua)
                dirty = volume._dirty  # noqa: SLF001  # a mutant changes code
                if dirty is not None and len(dirty) > self.MOST and self.strikes():
                    dirty.remove(*next(iter(dirty)))

            return write

        replace(Volume, "write", make)
