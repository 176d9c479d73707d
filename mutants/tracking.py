"""Cached block status, dirty bitmaps whose granules are shared (docs/bugs.md)."""

from __future__ import annotations

from typing import Any

from blockio.extents import STATE_DIRTY, Extent
from blockio.layers import Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, StatusMutant
from mutants.patching import replace
from reference_backend.store.volume import Volume

_DIRTY = "qbd:dirty"
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_GRANULE = 4096
_Extents = dict[str, Any]


class _Cached(StatusMutant):
    """A block status is answered from a cache that some changes do not invalidate."""

    def install(self) -> None:
        """Start with an empty cache."""
        self._cache: dict[tuple[int, int, int], _Extents] = {}

    def observe(self, request: Request) -> None:
        """Forget what a change invalidates."""
        if request.command in _CHANGES:
            gone = [key for key in self._cache if self.is_seen(request, *key)]
            for key in gone:
                del self._cache[key]

    def is_seen(self, request: Request, connection: int, offset: int, length: int) -> bool:
        """Return whether a change is seen to invalidate an answer."""
        raise NotImplementedError

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the cache has another answer; keep this one if it has none."""
        key = (request.connection, request.offset, request.length)
        return self._cache.setdefault(key, dict(reply.extents)) != reply.extents

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Answer from the cache."""
        key = (request.connection, request.offset, request.length)
        reply.extents.update(self._cache[key])


class StatusCachedPerConnection(_Cached):
    """Each connection has a cache of block status."""

    id = "status-cached-per-connection"
    shows = ("block status",)
    says = r"block status"
    source = "variant of per-client-cache-stale; QEMU 0bc329fbb0"
    breaks = "a connection gets its earlier block status again after another connection's change"

    def is_seen(self, request: Request, connection: int, offset: int, length: int) -> bool:
        """Return whether the change came on the same connection."""
        return request.connection == connection


class StatusCacheMissesOverlap(_Cached):
    """A change invalidates only answers in which it begins."""

    id = "status-cache-misses-overlap"
    shows = ("block status",)
    says = r"block status"
    source = "QEMU 0bc329fbb0, cache of block status in file-posix"
    breaks = "a change that begins before a range and runs into it leaves its cached status"

    def is_seen(self, request: Request, connection: int, offset: int, length: int) -> bool:
        """Return whether the change begins in the range."""
        return offset <= request.offset < offset + length


class DirtyClearedByZero(Mutant):
    """Zeroes and discards clear the dirty bits of the granules that they touch."""

    id = "dirty-cleared-by-zero"
    shows = ("block status",)
    says = r"changed, but"
    source = "variant of discard-not-tracked"
    breaks = "a write zeroes or discard inside a granule makes the whole granule clean"
    takes = ALWAYS

    def install(self) -> None:
        """Clear the bits after the change."""

        def make(real: Any) -> Any:
            def zero(volume: Volume, offset: int, length: int, allocate: bool, fua: bool) -> None:
                real(volume, offset, length, allocate, fua)
                dirty = volume._dirty  # noqa: SLF001  # a mutant changes code
                is_part = (offset | length) % _GRANULE
                if dirty is not None and length and is_part and self.strikes():
                    dirty.remove(offset // _GRANULE, -(-(offset + length) // _GRANULE))

            return zero

        replace(Volume, "_zero", make)


class DirtySliceStartsClean(StatusMutant):
    """A request that starts inside a granule misses this granule."""

    id = "dirty-slice-starts-clean"
    shows = ("block status",)
    says = r"qbd:dirty"
    source = "rounding of bitmap granules (docs/bugs.md)"
    breaks = "a dirty status that starts inside a granule calls the rest of this granule clean"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the request starts inside a dirty granule."""
        first = reply.extents.get(_DIRTY, [Extent(0, 0)])[0]
        return bool(request.offset % _GRANULE) and first.flags == STATE_DIRTY

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Split the first extent."""
        first, *rest = reply.extents[_DIRTY]
        head = min(-request.offset % _GRANULE, first.length)
        tail = [Extent(first.length - head, first.flags)] if first.length > head else []
        reply.extents[_DIRTY] = [Extent(head, 0), *tail, *rest]
