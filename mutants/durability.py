"""Acknowledged and gone (docs/bugs.md, group C). Only a crash, or the end of a client, shows it."""

from __future__ import annotations

from typing import Any

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.mutant import Mutant, changed, read, without
from reference_backend.server import Server

_ZERO = (Command.WRITE_ZEROES, Command.TRIM)


class FlushNoop(Mutant):
    """A flush makes nothing durable."""

    id = "flush-noop"
    shows = ("lost write",)
    source = "QEMU vmdk, vdi and many caches (docs/bugs.md)"
    breaks = "flush answers at once and does nothing"
    commands = (Command.FLUSH,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Say yes."""
        is_flush = request.command is Command.FLUSH
        return Reply() if is_flush and self.strikes(request) else below(request)


class FuaWriteAckEarly(Mutant):
    """FUA is ignored on writes."""

    id = "fua-write-ack-early"
    shows = ("lost write",)
    source = "docs/bugs.md, C3"
    breaks = "a write with FUA is acknowledged before it is durable"
    commands = (Command.WRITE,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Take the flag away."""
        is_fua = request.command is Command.WRITE and request.flags & CommandFlag.FUA
        if is_fua and self.strikes(request):
            return below(without(request, CommandFlag.FUA))
        return below(request)


class FuaLostOnTrim(Mutant):
    """FUA is ignored on discards and zeroes."""

    id = "fua-lost-on-trim"
    shows = ("lost write",)
    source = "docs/bugs.md, C5"
    breaks = "discards and zeroes with FUA are acknowledged before they are durable"
    commands = _ZERO

    def meddle(self, request: Request, below: Below) -> Reply:
        """Take the flag away."""
        is_fua = request.command in _ZERO and request.flags & CommandFlag.FUA
        if is_fua and self.strikes(request):
            return below(without(request, CommandFlag.FUA))
        return below(request)


class FuaOnTrimHangsUp(Mutant):
    """FUA on a discard ends the connection."""

    id = "fua-on-trim-hangs-up"
    shows = ("protocol error",)
    says = r"FUA"
    source = "variant A of fua-lost-on-trim"
    breaks = "a discard with FUA ends the connection"
    commands = (Command.TRIM,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Send nothing and close."""
        is_fua = request.command is Command.TRIM and request.flags & CommandFlag.FUA
        if is_fua and self.strikes(request):
            return Reply(on_wire=lambda _: (b"", False))
        return below(request)


class FlushOneChildOnly(Mutant):
    """Only one of two devices beneath is flushed."""

    id = "flush-one-child-only"
    shows = ("lost write",)
    source = "QEMU quorum and blkverify flushes (docs/bugs.md)"
    breaks = "a flush does nothing if the newest write lies in an odd MiB"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """No write yet."""
        self._odd = False

    def meddle(self, request: Request, below: Below) -> Reply:
        """Flush the first child."""
        if request.command is Command.WRITE:
            self._odd = bool((request.offset >> 20) & 1)
        if request.command is Command.FLUSH and self._odd and self.strikes(request):
            return Reply()
        return below(request)


class ZeroUnmapNotDurable(Mutant):
    """What was zeroed is not made durable."""

    id = "zero-unmap-not-durable"
    shows = ("lost write",)
    source = "thin pools with a lazy map (docs/bugs.md)"
    breaks = "a flush does nothing if the newest change is a write-zeroes or a discard"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """No change yet."""
        self._zeroed = False

    def meddle(self, request: Request, below: Below) -> Reply:
        """Leave the map for later."""
        if request.command in _ZERO or request.command is Command.WRITE:
            self._zeroed = request.command in _ZERO
        if request.command is Command.FLUSH and self._zeroed and self.strikes(request):
            return Reply()
        return below(request)


class CloseDropsDirty(Mutant):
    """What a client has not flushed goes when it goes."""

    id = "close-drops-dirty"
    shows = ("lost write",)
    source = "caches for each client (docs/bugs.md)"
    breaks = "writes that were not flushed are gone once their connection is closed"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Watch connections end."""
        self._undo: dict[int, list[tuple[Request, bytes, Below]]] = {}
        mutant, end = self, Server._end  # noqa: SLF001  # a mutant changes code

        def ending(server: Server, connection: Any) -> None:
            mutant.take_back(connection.number)
            end(server, connection)

        setattr(Server, "_end", ending)  # noqa: B010  # mypy knows methods as constants

    def take_back(self, connection: int) -> None:
        """Put back what stood there, newest first."""
        for request, old, below in reversed(self._undo.pop(connection, [])):
            below(changed(request, command=Command.WRITE, payload=old, flags=0))

    def meddle(self, request: Request, below: Below) -> Reply:
        """Remember what a write replaces."""
        if request.command is Command.FLUSH or request.flags & CommandFlag.FUA:
            self._undo.pop(request.connection, None)
        elif request.command is Command.WRITE and self.strikes(request):
            old = read(request, below, request.offset, request.length)
            self._undo.setdefault(request.connection, []).append((request, old, below))
        return below(request)
