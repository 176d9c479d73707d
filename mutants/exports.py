"""Several exports of one server, their contexts, flushes and sizes (docs/bugs.md)."""

from __future__ import annotations

from typing import Any

from blockio.extents import STATE_HOLE, STATE_ZERO, Extent
from blockio.layers import Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, StatusMutant
from mutants.patching import replace
from reference_backend.nbd.agreement import Agreement
from reference_backend.store.volume import Volume

_BASE = "base:allocation"


class ContextKeptForOtherExport(Mutant):
    """The contexts of a handshake do not depend on the export."""

    id = "context-kept-for-other-export"
    says = r"BLOCK_STATUS with the context of export"
    source = "NBD document, NBD_OPT_SET_META_CONTEXT"
    breaks = "metadata contexts that were chosen for one export are valid for the one entered"
    takes = ALWAYS

    def install(self) -> None:
        """Take the export that is entered for the one of the contexts."""

        def make(real: Any) -> Any:
            def enter(agreement: Agreement, name: str, *rest: Any) -> None:
                if agreement.contexts and agreement.context_export != name and self.strikes():
                    agreement.context_export = name
                real(agreement, name, *rest)

            return enter

        replace(Agreement, "enter", make)


class FlushFirstExportOnly(Mutant):
    """All exports share the flush of the first."""

    id = "flush-first-export-only"
    shows = ("lost write",)
    source = "variant of flush-one-child-only"
    breaks = "a flush of any export makes the export that was used first durable, and no other"
    takes = ALWAYS

    def install(self) -> None:
        """Flush the first volume."""
        first: list[Volume] = []

        def make(real: Any) -> Any:
            def flush(volume: Volume) -> None:
                if not first:
                    first.append(volume)
                is_other = volume is not first[0]
                real(first[0] if is_other and self.strikes() else volume)

            return flush

        replace(Volume, "flush", make)


class GrowthLostInCut(Mutant):
    """The new size is kept in memory only."""

    id = "growth-lost-in-cut"
    shows = ("size",)
    says = r"the size of|expected \d+"
    source = "variant of resize-false-success"
    breaks = "a power cut undoes the last growth of a volume, although it was flushed"
    takes = ALWAYS

    def install(self) -> None:
        """Remember the size before each growth, and return to it."""
        before: dict[int, int] = {}

        def resize(real: Any) -> Any:
            def change(volume: Volume, size: int) -> None:
                if size > volume.size:
                    before[id(volume)] = volume.size
                real(volume, size)

            return change

        def cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                size = before.pop(id(volume), volume.size)
                if size < volume.size and self.strikes():
                    volume._powered.resize(size)  # noqa: SLF001  # a mutant changes code
                    volume.size = size

            return power_cut

        replace(Volume, "resize", resize)
        replace(Volume, "power_cut", cut)


class StatusBehindGrowth(StatusMutant):
    """The map of a volume has the size that the volume had when it was opened."""

    id = "status-behind-growth"
    shows = ("block status",)
    says = r"block status"
    source = "variant of resize-not-notified"
    breaks = "block status calls everything zero behind the place where the volume once ended"

    def install(self) -> None:
        """Note the smallest size before a growth."""
        self._end = 1 << 63

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                self._end = min(self._end, volume.size)
                real(volume, size)

            return resize

        replace(Volume, "resize", make)

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the range is behind the old end."""
        return request.offset + request.length > self._end and _BASE in reply.extents

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Replace what is behind the old end."""
        inside = max(self._end - request.offset, 0)
        kept: list[Extent] = []
        for extent in reply.extents[_BASE]:
            length = min(extent.length, inside - sum(one.length for one in kept))
            if length > 0:
                kept.append(Extent(length, extent.flags))
        rest = request.length - sum(one.length for one in kept)
        reply.extents[_BASE] = [*kept, Extent(rest, STATE_HOLE | STATE_ZERO)]
