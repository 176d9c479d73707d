"""Resizes, snapshots and concurrent requests (docs/bugs.md, groups B, D, H and J)."""

from __future__ import annotations

import time
from typing import Any

from blockio.errors import BlockError
from blockio.extents import STATE_DIRTY, Extent
from blockio.layers import Below, Command, Reply, Request
from mutants import clock
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, whole_blocks, write
from mutants.patching import replace
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_LATE_S = 0.01
_QUEUED_S = 0.002
_LARGEST_PARENT = 64 << 20


def on_change(hook: Any, *names: str) -> None:
    """Call ``hook(volume)`` before the named methods of a volume, such as resize."""
    for name in names:

        def make(real: Any) -> Any:
            def changing(volume: Volume, *arguments: Any) -> Any:
                hook(volume)
                return real(volume, *arguments)

            return changing

        replace(Volume, name, make)


class ResizeFalseSuccess(Mutant):
    """A resize does nothing."""

    id = "resize-false-success"
    shows = ("size", "error")
    says = r"Input/output error|size|No space"
    source = "QEMU 5279b30392, 8e958260c5"
    breaks = "a resize reports success and changes nothing"
    takes = ALWAYS

    def install(self) -> None:
        """Return without resizing."""

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                if not self.strikes():
                    real(volume, size)

            return resize

        replace(Volume, "resize", make)


class GeometryChangeStaleBuffer(Mutant):
    """A request is checked against one size and carried out with another."""

    id = "geometry-change-stale-buffer"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "QEMU issue 4365, QEMU 55794c904d"
    breaks = "a write that waits 2 ms while the volume shrinks is carried out behind the new end"
    takes = ALWAYS
    waits = True

    def install(self) -> None:
        """Check, wait, write; data behind the end reappears when the volume grows."""
        self._behind: list[tuple[int, bytes]] = []

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                end = offset + len(data)
                was_inside = end <= volume.size
                time.sleep(_QUEUED_S)
                if was_inside and end > volume.size and self.strikes():
                    self._behind.append((offset, bytes(data)))
                else:
                    real(volume, offset, data, fua)

            return write

        def make_resize(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                real(volume, size)
                kept, self._behind = self._behind, []
                for offset, data in kept:
                    if offset + len(data) <= size:
                        volume.store.write(offset, data)
                    else:
                        self._behind.append((offset, data))

            return resize

        replace(Volume, "write", make_write)
        replace(Volume, "resize", make_resize)


class LateRequestAfterQuiesce(RequestMutant):
    """A write just after a switch-over goes to the old side."""

    id = "late-request-after-quiesce"
    shows = ("lost write",)
    source = "QEMU 9c707525cb, 176c36997f"
    breaks = "writes within 10 ms of a resize or a snapshot are acknowledged and lost"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Note the time of each resize and snapshot."""
        self._until_s = 0.0

        def note(_: Volume) -> None:
            self._until_s = clock.now_s() + _LATE_S

        on_change(note, "resize", "snapshot")

    def damages(self, request: Request) -> bool:
        """Return whether a resize or a snapshot was less than 10 ms ago."""
        return clock.now_s() < self._until_s

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the write."""
        return Reply()


class ReopenDifferentPlacement(Mutant):
    """Open connections write with the old layout."""

    id = "reopen-different-placement"
    shows = ("lost write", "misplaced data")
    source = "glusterfs issues 1918, 2417"
    breaks = "after a resize, writes of connections that were open before are seen only by them"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with the current layout."""
        self._known: set[int] = set()
        self._old: dict[int, dict[int, bytes]] = {}

        def rebalance(_: Volume) -> None:
            self._old.update({number: {} for number in self._known})

        on_change(rebalance, "resize")

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Use the layout with which the connection was opened."""
        self._known.add(request.connection)
        held = self._old.get(request.connection)
        if held is None:
            return below(request)
        whole = not (request.offset | request.length) % BLOCK
        if request.command is Command.WRITE and whole and self.strikes(request):
            data = bytes(request.payload)
            for at in range(0, len(data), BLOCK):
                held[(request.offset + at) // BLOCK] = data[at : at + BLOCK]
            return Reply()
        reply = below(request)
        if request.command is Command.READ and held:
            data_ = bytearray(reply.data)
            for number in whole_blocks(request.offset, request.length):
                at = number * BLOCK - request.offset
                data_[at : at + BLOCK] = held.get(number, data_[at : at + BLOCK])
            reply.data = bytes(data_)
        return reply


class DiscardExposesBacking(RequestMutant):
    """A discard in a clone exposes the parent's data."""

    id = "discard-exposes-backing"
    shows = ("missing zeroes", "zeroed")
    source = "QEMU 80f5c01183, SPDK d3594f8437"
    breaks = "a discard after a snapshot brings back the data of the snapshot"
    commands = (Command.TRIM,)

    def install(self) -> None:
        """Keep a copy of the newest snapshot."""
        self._parent = b""

        def keep(volume: Volume) -> None:
            if volume.size <= _LARGEST_PARENT:
                self._parent = volume.read(0, volume.size)

        on_change(keep, "snapshot")

    def damages(self, request: Request) -> bool:
        """Return whether the range is in the copy."""
        return request.offset + request.length <= len(self._parent)

    def damage(self, request: Request, below: Below) -> Reply:
        """Write the parent's data."""
        end = request.offset + request.length
        write(request, below, request.offset, self._parent[request.offset : end])
        return Reply()


class DiscardNotTracked(Mutant):
    """Dirty tracking misses discards and write zeroes."""

    id = "discard-not-tracked"
    says = r"dirty"
    source = "QEMU ec050f77a5"
    breaks = "the dirty bitmap omits ranges that were discarded or zeroed"
    takes = ALWAYS

    def install(self) -> None:
        """Switch tracking off while a range is zeroed."""

        def make(real: Any) -> Any:
            def zero(volume: Volume, *arguments: Any) -> Any:
                if not self.strikes():
                    return real(volume, *arguments)
                tracked = volume._dirty  # noqa: SLF001  # a mutant changes code
                volume._dirty = RangeSet() if tracked is not None else None  # noqa: SLF001
                try:
                    return real(volume, *arguments)
                finally:
                    volume._dirty = tracked  # noqa: SLF001

            return zero

        replace(Volume, "_zero", make)


class IncrementalMissesHole(Mutant):
    """Ranges that are holes now are reported as clean."""

    id = "incremental-misses-hole"
    shows = ("missing zeroes",)
    says = r"dirty"
    source = "openzfs issue 4996 (hole_birth), ceph PR 32403"
    breaks = "the dirty bitmap omits ranges that have become holes"
    takes = ALWAYS

    def install(self) -> None:
        """Report as dirty only what is not a hole."""

        def make(real: Any) -> Any:
            def status(volume: Volume, offset: int, length: int) -> list[Extent]:
                found: list[Extent] = []
                if not self.strikes():
                    return list(real(volume, offset, length))
                for extent in real(volume, offset, length):
                    for part in volume.block_status(offset, extent.length):
                        size = min(part.length, extent.length)
                        dirty = extent.flags & STATE_DIRTY if not part.flags & 1 else 0
                        found.append(Extent(size, dirty))
                    offset += extent.length
                return found

            return status

        replace(Volume, "dirty_status", make)


class SectorUnitMismatch(Mutant):
    """Sector numbers count blocks instead of 512 bytes."""

    id = "sector-unit-mismatch"
    shows = ("size", "error")
    says = r"sector|size|block size|MDTS|capacity|limit|errno"
    source = "QEMU e44362ce31, b802d14dc6"
    breaks = (
        "with blocks over 512 bytes, discards and write zeroes far behind the start fail with EIO"
    )
    takes = ALWAYS

    def install(self) -> None:
        """Multiply the sector number by the block size."""

        def make(real: Any) -> Any:
            def zero(volume: Volume, offset: int, *arguments: Any) -> Any:
                block = volume.block_sizes[0]
                is_far = block > 512 and offset // 512 * block > volume.size
                if is_far and self.strikes():
                    raise BlockError(5, "out of range")
                return real(volume, offset, *arguments)

            return zero

        replace(Volume, "_zero", make)
