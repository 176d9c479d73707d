"""Flushes and FUA that cover a part of what they must (docs/bugs.md)."""

from __future__ import annotations

from typing import Any

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, RequestMutant, blocks, without
from mutants.patching import replace
from reference_backend.store.volume import Volume
from reference_backend.store.write_cache import WriteCache

_UNIT = 65536
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
MIB = 1 << 20


class FuaFirstPartOnly(Mutant):
    """A long request with FUA is split, and its first part keeps the flag."""

    id = "fua-first-part-only"
    shows = ("lost write",)
    source = "class known from requests that are split without their flags"
    breaks = "of a change with FUA, the part behind its first 64 KiB is not durable"
    takes = ALWAYS

    def install(self) -> None:
        """Make the first part durable."""

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                if not fua or len(data) <= _UNIT or not self.strikes():
                    real(volume, offset, data, fua)
                    return
                real(volume, offset + _UNIT, data[_UNIT:], False)
                real(volume, offset, data[:_UNIT], True)

            return write

        replace(Volume, "write", make)


class _FuaLost(RequestMutant):
    """A write loses its FUA."""

    commands = (Command.WRITE,)
    shows = ("lost write",)

    def damage(self, request: Request, below: Below) -> Reply:
        """Remove the flag."""
        return below(without(request, CommandFlag.FUA))


class FuaLostOnPartBlock(_FuaLost):
    """The write of a read-modify-write has no flags."""

    id = "fua-lost-on-part-block"
    source = "class known from read-modify-write paths"
    breaks = (
        "a write with FUA that is not aligned to 4096 bytes is acknowledged before it is durable"
    )

    def damages(self, request: Request) -> bool:
        """Return whether the request is unaligned and has FUA."""
        is_part = (request.offset | request.length) % 4096
        return bool(is_part and request.flags & CommandFlag.FUA)


class FuaLostInMerge(_FuaLost):
    """A request that is merged with the one before it takes its flags."""

    id = "fua-lost-in-merge"
    source = "class known from request merging"
    breaks = "a write with FUA that begins where a write without FUA ended is not durable"

    def install(self) -> None:
        """Start without a write."""
        self._end = self._end_now = -1

    def observe(self, request: Request) -> None:
        """Note the end of each write without FUA."""
        self._end = self._end_now
        is_plain = request.command is Command.WRITE and not request.flags & CommandFlag.FUA
        self._end_now = request.offset + request.length if is_plain else -1

    def damages(self, request: Request) -> bool:
        """Return whether the request is merged."""
        return request.offset == self._end and bool(request.flags & CommandFlag.FUA)


class FuaWithoutMap(_FuaLost):
    """Data of a first write is durable, but not the map that leads to it."""

    id = "fua-without-map"
    source = "class known from thin stores that write their map later"
    breaks = "the first write to a 64 KiB unit is acknowledged before it is durable, also with FUA"

    def install(self) -> None:
        """Start with an empty map."""
        self._map: set[int] = set()
        self._is_first = False

    def observe(self, request: Request) -> None:
        """Note the units that are written."""
        if request.command is Command.WRITE:
            units = set(blocks(request.offset, request.length, _UNIT))
            self._is_first = not units <= self._map
            self._map |= units
        elif request.command is Command.TRIM and request.length < 1 << 30:
            self._map.difference_update(blocks(request.offset, request.length, _UNIT))

    def damages(self, request: Request) -> bool:
        """Return whether the write has FUA and allocates."""
        return self._is_first and bool(request.flags & CommandFlag.FUA)


class FlushOfOtherQueue(RequestMutant):
    """A flush is sent down a wrong path for all queues but one."""

    id = "flush-of-other-queue"
    shows = ("lost write",)
    source = "openzfs 8d4c3ee9e6"
    breaks = "a flush makes nothing durable if another connection made the newest change"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Start without a change."""
        self._newest = 0

    def observe(self, request: Request) -> None:
        """Note the connection of each change."""
        if request.command in _CHANGES:
            self._newest = request.connection

    def damages(self, request: Request) -> bool:
        """Return whether the newest change came on another connection."""
        return self._newest != request.connection

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the flush."""
        return Reply()


class FlushLeavesTailPage(RequestMutant):
    """The last page of a log is written when it is full."""

    id = "flush-leaves-tail-page"
    shows = ("lost write",)
    source = "class known from logs with partly filled pages"
    breaks = "a flush makes nothing durable if the newest write is shorter than 512 bytes"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Start without a write."""
        self._is_short = False

    def observe(self, request: Request) -> None:
        """Note the length of each change."""
        if request.command in _CHANGES:
            self._is_short = request.command is Command.WRITE and request.length < 512

    def damages(self, request: Request) -> bool:
        """Return whether the newest change is short."""
        return self._is_short

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the flush."""
        return Reply()


class FlushOfFirstPart(Mutant):
    """A flush covers a part of the cache."""

    id = "flush-of-first-part"
    shows = ("lost write",)
    source = "Open-CAS c423ac2c"
    breaks = "a flush makes only the first 16 MiB of the volume durable"
    takes = ALWAYS
    LIMIT = 16 * MIB

    def install(self) -> None:
        """Keep the later entries pending."""

        def make(real: Any) -> Any:
            def settle(cache: WriteCache, mark: int) -> None:
                entries = cache._entries  # noqa: SLF001  # a mutant changes code
                count = mark - cache._fallen  # noqa: SLF001
                far = [one for one in list(entries)[:count] if one[0] >= self.LIMIT]
                real(cache, mark)
                if far and self.strikes():
                    keep_pending(cache, far)

            return settle

        replace(WriteCache, "settle", make)


def keep_pending(cache: WriteCache, entries: list[Any]) -> None:
    """Put entries that were settled back in front of all others; leave resizes settled."""
    kept = [one for one in entries if one[3] is None and isinstance(one[2], bytes)]
    cache._entries.extendleft(reversed(kept))  # noqa: SLF001  # a mutant changes code
    cache._fallen -= len(kept)  # noqa: SLF001
    cache._bytes += sum(len(one[2]) + 256 for one in kept)  # noqa: SLF001
