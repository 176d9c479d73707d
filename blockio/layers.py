"""Requests, replies, and the layers between the wire and a volume.

A layer sees each request on its way down and each reply on its way up: ``handle(request, below)``,
where ``below(request)`` is the next layer, and at the bottom the volume itself. The interface above
equals the one below, so layers stack in any order. All faults and all seeded bugs are layers,
loaded by module name; a server without layers is provably the correct backend, and pays nothing
for them.

Five attributes are optional. ``waits``: a layer that never waits says False, and then the replies
to many requests are sent together, as without layers. ``active``: while all layers say False,
requests may pass them by, so that a rule engine without rules costs nothing; read for each batch.
``passes``: by command, functions of offset and length (above 0) that are True for a request that
the layer would hand down unchanged; it has then taken note of it, and `handle` is not called. Used
where the layer is the only active one, and does not wait. ``pauses``: while it is True, each
request has a thread of its own (asides.py), which says so when it is about to wait.
``above_rules``: True for a layer that a server puts above its rules, so that the layer receives
their errors.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Protocol

from blockio.extents import Extent


class Command(enum.IntEnum):
    """Transmission commands; values of the NBD document, "Command types"."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(enum.IntFlag):
    """Command flags; values of the NBD document, "Command flags"."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3
    FAST_ZERO = 1 << 4
    PAYLOAD_LEN = 1 << 5


# Plain classes: the module dataclasses, with inspect beneath it, is half of a server's start.


class Request:
    """One transmission request.

    ``offset`` and ``length`` are in bytes. ``payload`` is the data of a WRITE (``length`` bytes),
    else empty. ``cookie`` is the client's 64-bit tag; ``connection`` numbers connections, from 1.
    """

    __slots__ = ("command", "connection", "cookie", "flags", "length", "offset", "payload")

    def __init__(  # noqa: PLR0917  # what a request has
        self,
        command: Command,
        flags: int,
        offset: int,
        length: int,
        cookie: int,
        payload: bytes | bytearray | memoryview = b"",
        connection: int = 0,
    ) -> None:
        self.command = command
        self.flags = flags
        self.offset = offset
        self.length = length
        self.cookie = cookie
        self.payload = payload
        self.connection = connection

    def __repr__(self) -> str:
        return (
            f"Request({self.command.name}, flags={self.flags:#x}, offset={self.offset}, "
            f"length={self.length}, cookie={self.cookie}, connection={self.connection})"
        )


class Reply:
    """The answer to one request.

    ``error`` is 0 or a Linux errno. ``data`` is what a READ returned. ``extents`` maps the name of
    each negotiated metadata context to its extents (BLOCK_STATUS). ``on_wire`` is for wire faults:
    it gets the encoded reply, and returns what to send in its place, and whether the connection
    lives.
    """

    __slots__ = ("data", "error", "extents", "on_wire")

    def __init__(
        self,
        error: int = 0,
        data: bytes | bytearray | memoryview = b"",
        extents: dict[str, Sequence[Extent]] | None = None,
        on_wire: Callable[[bytes], tuple[bytes, bool]] | None = None,
    ) -> None:
        self.error = error
        self.data = data
        self.extents = {} if extents is None else extents
        self.on_wire = on_wire

    def __repr__(self) -> str:
        return f"Reply(error={self.error}, {len(self.data)} bytes, extents={self.extents})"


Below = Callable[[Request], Reply]


class Layer(Protocol):
    """What stands between the wire and the volume: a fault, a seeded bug, a check."""

    def handle(self, request: Request, below: Below) -> Reply:
        """Answer the request; call ``below(request)`` for what the layers beneath would answer.

        :raise blockio.errors.BlockError: the request fails with that errno.
        """
        ...


def stack(layers: Sequence[Layer], bottom: Below) -> Below:
    """Return one callable that sends a request through all layers, first one on top."""
    below = bottom
    for layer in reversed(layers):
        below = _bind(layer, below)
    return below


def _bind(layer: Layer, below: Below) -> Below:
    def handle(request: Request) -> Reply:
        return layer.handle(request, below)

    return handle


class Checked:
    """A layer that asserts the contract of its hop: below it, and of whoever is above.

    Put between two layers in tests; an assertion that fails is our bug, never a client's.
    """

    waits = False

    def handle(self, request: Request, below: Below) -> Reply:
        """Check the request, pass it down, check the reply."""
        assert request.offset >= 0
        assert request.length >= 0
        expected = request.length if request.command is Command.WRITE else 0
        assert len(request.payload) == expected, f"{request.command.name} with a wrong payload"
        before = (request.command, request.flags, request.offset, request.length, request.cookie)
        reply = below(request)
        after = (request.command, request.flags, request.offset, request.length, request.cookie)
        assert before == after, "a layer changed the request of the layer above"
        if not reply.error:
            self._check_success(request, reply)
        return reply

    def _check_success(self, request: Request, reply: Reply) -> None:
        expected = request.length if request.command is Command.READ else 0
        assert len(reply.data) == expected, f"{request.command.name} returned wrong data"
        for name, extents in reply.extents.items():
            assert request.command is Command.BLOCK_STATUS, f"{request.command.name} with extents"
            assert extents, f"no extent of {name}"
            assert all(extent.length > 0 for extent in extents), f"an empty extent of {name}"
            covered = sum(extent.length for extent in extents[:-1])
            assert covered < request.length, f"extents of {name} go on after the range"
