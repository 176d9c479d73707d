"""Data that goes to, or comes from, the wrong place (docs/bugs.md, group A)."""

from __future__ import annotations

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.mutant import Mutant, changed, read, write

_DATA = (Command.READ, Command.WRITE)


class UnalignedOffsetRounded(Mutant):
    """Offsets are rounded down to a sector."""

    id = "unaligned-offset-rounded"
    shows = ("misplaced data",)
    source = "QEMU df7b97ff89"
    breaks = "reads and writes that do not begin at a sector begin at the one before"
    commands = _DATA

    def meddle(self, request: Request, below: Below) -> Reply:
        """Round the offset of reads and writes."""
        if request.command in _DATA and request.offset % 512 and self.strikes(request):
            return below(changed(request, offset=request.offset & ~511))
        return below(request)


class ShortReadResumeOffset(Mutant):
    """The second half of a long read comes from the wrong place."""

    id = "short-read-resume-offset"
    shows = ("misplaced data",)
    source = "QEMU c06fc7ce14"
    breaks = "the second half of a read over 64 KiB comes from offset length/2 of the volume"
    commands = (Command.READ,)
    usual_rate = 4

    def meddle(self, request: Request, below: Below) -> Reply:
        """Go on with a short read at what was read, not at where it was."""
        reply = below(request)
        if request.command is Command.READ and request.length > 65536 and self.strikes(request):
            half = request.length // 2
            rest = read(request, below, half, request.length - half)
            reply.data = bytes(reply.data[:half]) + rest
        return reply


class ExtentBoundaryMisroute(Mutant):
    """A request across extents does its second part elsewhere."""

    id = "extent-boundary-misroute"
    shows = ("misplaced data", "error", "beyond the end")
    says = r"No space left|beyond the end"
    source = "SPDK raid split, QEMU vmdk extents (docs/bugs.md)"
    breaks = "what a request does behind 1 MiB + 512 goes that much too far, if it begins before"
    commands = _DATA
    EDGE = (1 << 20) + 512

    def meddle(self, request: Request, below: Below) -> Reply:
        """Forget to subtract the start of the second extent."""
        end = request.offset + request.length
        crosses = request.command in _DATA and request.offset < self.EDGE < end
        if not (crosses and self.strikes(request)):
            return below(request)
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


class IovOffsetIgnored(Mutant):
    """The second fragment of a write repeats the first."""

    id = "iov-offset-ignored"
    shows = ("misplaced data",)
    source = "QEMU nvme and SPDK iov splits (docs/bugs.md)"
    breaks = "an unaligned write across a 64 KiB boundary writes its first bytes twice"
    commands = (Command.WRITE,)
    CHUNK = 65536

    def meddle(self, request: Request, below: Below) -> Reply:
        """Start again with the vector's first byte behind the boundary."""
        first = -request.offset % self.CHUNK
        is_cut = first % 4096 and first < request.length
        if request.command is Command.WRITE and is_cut and self.strikes(request):
            data = bytes(request.payload)
            again = (data * 2)[: request.length - first]
            return below(changed(request, payload=data[:first] + again))
        return below(request)


class Offset32BitWrap(Mutant):
    """Offsets of writes are kept in 32 bits."""

    id = "offset-32bit-wrap"
    shows = ("misdirected", "zeroed", "never written", "stale")
    source = "SPDK and NBD clients with 32-bit byte offsets (docs/bugs.md)"
    breaks = "a write beyond 4 GiB lands 4 GiB lower"
    commands = (Command.WRITE,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Cut the offset."""
        if request.command is Command.WRITE and request.offset >> 32 and self.strikes(request):
            return below(changed(request, offset=request.offset & 0xFFFFFFFF))
        return below(request)


class Trim32BitWrap(Mutant):
    """Offsets of discards are kept in 32 bits."""

    id = "offset-32bit-wrap-trim"
    shows = ("zeroed", "stale", "never written")
    source = "variant of offset-32bit-wrap"
    breaks = "a discard beyond 4 GiB discards 4 GiB lower"
    commands = (Command.TRIM,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Cut the offset."""
        if request.command is Command.TRIM and request.offset >> 32 and self.strikes(request):
            return below(changed(request, offset=request.offset & 0xFFFFFFFF))
        return below(request)


class MisdirectedWrite(Mutant):
    """A write goes to the neighbour."""

    id = "misdirected-write"
    shows = ("misdirected", "never written", "stale", "lost", "metadata")
    says = r"bad header"
    source = "disk firmware; Bairavasundaram et al. (docs/bugs.md)"
    breaks = "one write in twenty is done 4096 bytes too far"
    commands = (Command.WRITE,)
    usual_rate = 20

    def meddle(self, request: Request, below: Below) -> Reply:
        """Write behind the place that was asked for."""
        if request.command is Command.WRITE and self.strikes(request):
            try:
                return below(changed(request, offset=request.offset + 4096))
            except BlockError:
                pass  # there is no room: this one is right
        return below(request)


class SplitOffByOne(Mutant):
    """Splitting a large write loses a sector at the seam."""

    id = "split-seam-lost"
    shows = ("lost write",)
    source = "variant of extent-boundary-misroute"
    breaks = "the last sector before each 1 MiB inside a long write is not written"
    commands = (Command.WRITE,)
    CHUNK = 1 << 20

    def meddle(self, request: Request, below: Below) -> Reply:
        """Write the pieces, each one sector short, but the last."""
        seam = request.offset + (-request.offset % self.CHUNK or self.CHUNK)
        end = request.offset + request.length
        is_long = request.command is Command.WRITE and seam < end
        if not (is_long and self.strikes(request)):
            return below(request)
        data = bytes(request.payload)
        kept = max(seam - request.offset - 512, 0)
        write(request, below, request.offset, data[:kept])
        return below(changed(request, offset=seam, payload=data[seam - request.offset :]))
