"""Acknowledged data that is lost in a crash or when a client leaves (docs/bugs.md, group C)."""

from __future__ import annotations

from typing import ClassVar

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.connections import on_end
from mutants.mutant import RequestMutant, changed, read, without

_ZERO = (Command.WRITE_ZEROES, Command.TRIM)


class FlushNoop(RequestMutant):
    """A flush makes nothing durable."""

    id = "flush-noop"
    shows = ("lost write",)
    source = "QEMU vmdk, vdi and many caches (docs/bugs.md)"
    breaks = "a flush answers at once and makes nothing durable"
    commands = (Command.FLUSH,)

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the flush."""
        return Reply()


class FuaWriteAckEarly(RequestMutant):
    """FUA is ignored on writes."""

    id = "fua-write-ack-early"
    shows = ("lost write",)
    source = "docs/bugs.md, C3"
    breaks = "a write with FUA is acknowledged before it is durable"
    commands: ClassVar[tuple[Command, ...]] = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether the request has FUA."""
        return bool(request.flags & CommandFlag.FUA)

    def damage(self, request: Request, below: Below) -> Reply:
        """Remove the flag."""
        return below(without(request, CommandFlag.FUA))


class FuaLostOnTrim(FuaWriteAckEarly):
    """FUA is ignored on discards and zeroes."""

    id = "fua-lost-on-trim"
    shows = ("lost write",)
    source = "docs/bugs.md, C5"
    breaks = "a discard or write zeroes with FUA is acknowledged before it is durable"
    commands = _ZERO


class FuaOnTrimHangsUp(FuaWriteAckEarly):
    """FUA on a discard ends the connection."""

    id = "fua-on-trim-hangs-up"
    shows = ("protocol error",)
    says = r"FUA"
    source = "variant A of fua-lost-on-trim"
    breaks = "a discard with FUA ends the connection"
    commands = (Command.TRIM,)

    def damage(self, request: Request, below: Below) -> Reply:
        """Send nothing and close the connection."""
        return Reply(on_wire=lambda _: (b"", False))


class FlushOneChildOnly(FlushNoop):
    """Only one of two lower devices is flushed."""

    id = "flush-one-child-only"
    shows = ("lost write",)
    source = "QEMU quorum and blkverify flushes (docs/bugs.md)"
    breaks = "a flush makes nothing durable if the newest write is in an odd MiB"

    def install(self) -> None:
        """Start without a write."""
        self._odd = False

    def observe(self, request: Request) -> None:
        """Note the device of the newest write."""
        if request.command is Command.WRITE:
            self._odd = bool((request.offset >> 20) & 1)

    def damages(self, request: Request) -> bool:
        """Return whether the newest write went to the second device."""
        return self._odd


class ZeroUnmapNotDurable(FlushNoop):
    """Zeroed ranges are not made durable."""

    id = "zero-unmap-not-durable"
    shows = ("lost write",)
    source = "thin pools with a lazy map (docs/bugs.md)"
    breaks = "a flush makes nothing durable if the newest change is a write zeroes or a discard"

    def install(self) -> None:
        """Start without a change."""
        self._zeroed = False

    def observe(self, request: Request) -> None:
        """Note the kind of the newest change."""
        if request.command in _ZERO or request.command is Command.WRITE:
            self._zeroed = request.command in _ZERO

    def damages(self, request: Request) -> bool:
        """Return whether the newest change is one of the map."""
        return self._zeroed


class CloseDropsDirty(RequestMutant):
    """Data that a client has not flushed is lost when the client leaves."""

    id = "close-drops-dirty"
    shows = ("lost write",)
    source = "caches for each client (docs/bugs.md)"
    breaks = "writes that were not flushed are lost when their connection is closed"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Register for the end of connections."""
        self._undo: dict[int, list[tuple[Request, bytes, Below]]] = {}
        on_end(self._take_back)

    def _take_back(self, connection: int) -> None:
        for request, old, below in reversed(self._undo.pop(connection, [])):
            below(changed(request, command=Command.WRITE, payload=old, flags=0))

    def observe(self, request: Request) -> None:
        """Forget the old data that a flush or FUA makes obsolete."""
        if request.command is Command.FLUSH or request.flags & CommandFlag.FUA:
            self._undo.pop(request.connection, None)

    def damages(self, request: Request) -> bool:
        """Return whether the write is volatile."""
        return not request.flags & CommandFlag.FUA

    def damage(self, request: Request, below: Below) -> Reply:
        """Keep the old data, to restore it when the connection ends."""
        old = read(request, below, request.offset, request.length)
        self._undo.setdefault(request.connection, []).append((request, old, below))
        return below(request)
