"""Data that goes to, or comes from, a wrong place (docs/bugs.md, group A)."""

from __future__ import annotations

from typing import ClassVar

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.mutant import RequestMutant, changed, read, write

_DATA = (Command.READ, Command.WRITE)


class UnalignedOffsetRounded(RequestMutant):
    """Offsets are rounded down to a sector."""

    id = "unaligned-offset-rounded"
    shows = ("misplaced data",)
    source = "QEMU df7b97ff89"
    breaks = (
        "a read or write that does not begin at a sector boundary begins at the boundary before it"
    )
    commands = _DATA

    def damages(self, request: Request) -> bool:
        """Return whether the offset is unaligned."""
        return bool(request.offset % 512)

    def damage(self, request: Request, below: Below) -> Reply:
        """Round the offset down."""
        return below(changed(request, offset=request.offset & ~511))


class ShortReadResumeOffset(RequestMutant):
    """The second half of a long read comes from a wrong offset."""

    id = "short-read-resume-offset"
    shows = ("misplaced data",)
    source = "QEMU c06fc7ce14"
    breaks = "the second half of a read over 64 KiB comes from offset length/2 of the volume"
    commands = (Command.READ,)
    default_rate = 4

    def damages(self, request: Request) -> bool:
        """Return whether the read is longer than 64 KiB."""
        return request.length > 65536

    def damage(self, request: Request, below: Below) -> Reply:
        """Continue at the number of bytes read so far, without the offset of the request."""
        reply = below(request)
        half = request.length // 2
        rest = read(request, below, half, request.length - half)
        reply.data = bytes(reply.data[:half]) + rest
        return reply


class ExtentBoundaryMisroute(RequestMutant):
    """A request across two extents carries out its second part elsewhere."""

    id = "extent-boundary-misroute"
    shows = ("misplaced data", "error", "beyond the end")
    says = r"No space left|beyond the end"
    source = "SPDK raid split, QEMU vmdk extents (docs/bugs.md)"
    breaks = "of a request across offset 1 MiB + 512, the part behind it goes 1 MiB + 512 too far"
    commands = _DATA
    EDGE = (1 << 20) + 512

    def damages(self, request: Request) -> bool:
        """Return whether the request crosses the boundary of the extents."""
        return request.offset < self.EDGE < request.offset + request.length

    def damage(self, request: Request, below: Below) -> Reply:
        """Carry out the second part without subtracting the start of the second extent."""
        first = self.EDGE - request.offset
        rest = request.length - first
        wrong = 2 * self.EDGE
        if request.command is Command.READ:
            return Reply(
                data=read(request, below, request.offset, first) + read(request, below, wrong, rest)
            )
        data = bytes(request.payload)
        write(request, below, request.offset, data[:first])
        return below(changed(request, offset=wrong, payload=data[first:]))


class IovOffsetIgnored(RequestMutant):
    """The second fragment of a write repeats the first."""

    id = "iov-offset-ignored"
    shows = ("misplaced data",)
    source = "QEMU nvme and SPDK iov splits (docs/bugs.md)"
    breaks = "an unaligned write across a 64 KiB boundary writes its first bytes twice"
    commands = (Command.WRITE,)
    CHUNK = 65536

    def damages(self, request: Request) -> bool:
        """Return whether an unaligned write crosses a 64 KiB boundary."""
        first = -request.offset % self.CHUNK
        return bool(first % 4096) and first < request.length

    def damage(self, request: Request, below: Below) -> Reply:
        """Begin the second fragment with the first byte of the payload."""
        first = -request.offset % self.CHUNK
        data = bytes(request.payload)
        again = (data * 2)[: request.length - first]
        return below(changed(request, payload=data[:first] + again))


class Offset32BitWrap(RequestMutant):
    """Offsets of writes are truncated to 32 bits."""

    id = "offset-32bit-wrap"
    shows: ClassVar[tuple[str, ...]] = ("misdirected", "zeroed", "never written", "stale")
    source = "SPDK and NBD clients with 32-bit byte offsets (docs/bugs.md)"
    breaks = "a write beyond 4 GiB goes to its offset modulo 4 GiB"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether the offset needs more than 32 bits."""
        return bool(request.offset >> 32)

    def damage(self, request: Request, below: Below) -> Reply:
        """Truncate the offset."""
        return below(changed(request, offset=request.offset & 0xFFFFFFFF))


class Trim32BitWrap(Offset32BitWrap):
    """Offsets of discards are truncated to 32 bits."""

    id = "offset-32bit-wrap-trim"
    shows = ("zeroed", "stale", "never written")
    source = "variant of offset-32bit-wrap"
    breaks = "a discard beyond 4 GiB goes to its offset modulo 4 GiB"
    commands = (Command.TRIM,)


class MisdirectedWrite(RequestMutant):
    """A write goes to the neighbouring block."""

    id = "misdirected-write"
    shows = ("misdirected", "never written", "stale", "lost", "metadata")
    says = r"bad header"
    source = "disk firmware; Bairavasundaram et al. (docs/bugs.md)"
    breaks = "one write in twenty goes 4096 bytes too far"
    commands = (Command.WRITE,)
    default_rate = 20

    def damage(self, request: Request, below: Below) -> Reply:
        """Write 4096 bytes behind the requested place; write in place at the end of the volume."""
        try:
            return below(changed(request, offset=request.offset + 4096))
        except BlockError:
            return below(request)


class SplitOffByOne(RequestMutant):
    """A large write that is split loses a sector at each seam."""

    id = "split-seam-lost"
    shows = ("lost write",)
    source = "variant of extent-boundary-misroute"
    breaks = "the last sector before the first 1 MiB boundary inside a write is not written"
    commands = (Command.WRITE,)
    CHUNK = 1 << 20

    def damages(self, request: Request) -> bool:
        """Return whether the write crosses a boundary."""
        return self._seam(request) < request.offset + request.length

    def damage(self, request: Request, below: Below) -> Reply:
        """Write two pieces, the first one sector too short."""
        seam = self._seam(request)
        data = bytes(request.payload)
        kept = max(seam - request.offset - 512, 0)
        write(request, below, request.offset, data[:kept])
        return below(changed(request, offset=seam, payload=data[seam - request.offset :]))

    def _seam(self, request: Request) -> int:
        return request.offset + (-request.offset % self.CHUNK or self.CHUNK)
