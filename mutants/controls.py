"""Backends that are right, in ways that are legal and unusual: no case may accuse one of them."""

from __future__ import annotations

import time

from mutants.mutant import Mutant, changed
from reference_backend.layers import Below, Command, CommandFlag, Reply, Request
from reference_backend.store.extents import Extent


class Control(Mutant):
    """A legal backend; ``breaks`` says in which way it is unusual."""


class Plain(Control):
    """The general path without any change."""

    id = "control-plain"
    breaks = "nothing"


class DiscardNoop(Control):
    """A discard is a hint (NBD document, NBD_CMD_TRIM)."""

    id = "control-discard-noop"
    breaks = "discards do nothing"

    def handle(self, request: Request, below: Below) -> Reply:
        """Take no hint."""
        return Reply() if request.command is Command.TRIM else below(request)


class ShortExtents(Control):
    """Block status may end before the range does."""

    id = "control-short-extents"
    breaks = "block status answers with one extent, and a quarter of that"

    def handle(self, request: Request, below: Below) -> Reply:
        """Cut the first extent, down to 64 KiB."""
        reply = below(request)
        for name, extents in reply.extents.items():
            first = extents[0]
            quarter = max(first.length // 4 & -65536, 65536)
            reply.extents[name] = [Extent(min(first.length, quarter), first.flags)]
        return reply


class NoHoles(Control):
    """A server need not know its holes."""

    id = "control-no-holes"
    breaks = "block status says data everywhere"

    def handle(self, request: Request, below: Below) -> Reply:
        """Clear the flags."""
        reply = below(request)
        if "base:allocation" in reply.extents:
            reply.extents["base:allocation"] = [Extent(request.length, 0)]
        return reply


class ZeroesAlwaysAllocate(Control):
    """Zeroes may be written as data."""

    id = "control-zeroes-allocate"
    breaks = "write-zeroes never makes a hole"

    def handle(self, request: Request, below: Below) -> Reply:
        """Keep the space."""
        if request.command is Command.WRITE_ZEROES:
            return below(changed(request, flags=request.flags | CommandFlag.NO_HOLE))
        return below(request)


class FuaFlushesAll(Control):
    """FUA may do more than it must."""

    id = "control-fua-flushes"
    breaks = "FUA makes everything durable"

    def handle(self, request: Request, below: Below) -> Reply:
        """Flush after it."""
        reply = below(request)
        if request.flags & CommandFlag.FUA:
            below(Request(Command.FLUSH, 0, 0, 0, request.cookie, b"", request.connection))
        return reply


class Slow(Control):
    """Slow is not wrong."""

    id = "control-slow"
    breaks = "each request takes 2 ms longer"
    waits = True

    def handle(self, request: Request, below: Below) -> Reply:
        """Take a while."""
        time.sleep(0.002)
        return below(request)


class DiscardZeroesPartly(Control):
    """After a discard each sector may be old or zero."""

    id = "control-discard-partly"
    breaks = "discards do whole 64 KiB units only"

    def handle(self, request: Request, below: Below) -> Reply:
        """Discard what is whole."""
        if request.command is not Command.TRIM:
            return below(request)
        start = (request.offset + 65535) & -65536
        end = (request.offset + request.length) & -65536
        return below(changed(request, offset=start, length=end - start)) if start < end else Reply()
