"""Requests, replies, and the layers between the protocol and a volume.

A layer sees each request on its way down and each reply on its way up: ``handle(request, below)``.
``below(request)`` calls the next layer, or the volume below the last layer. All layers have the
same interface, so they stack in any order. All faults and all seeded bugs are layers, loaded by
module name. A server without layers is the correct backend and has no overhead for them.

Five attributes are optional:

- ``waits``: False if the layer never waits. Then the replies to many requests are sent together,
  as without layers.
- ``active``: while it is False for all layers, requests bypass them, so that a rule engine without
  rules costs nothing. It is read for each batch.
- ``passes``: functions by command. A function gets offset and length (above 0), and returns True
  for a request that the layer would pass down unchanged. The layer has then counted the request,
  and ``handle`` is not called. Used if the layer is the only active one and does not wait.
- ``pauses``: while it is True, each request has a thread of its own (``blocking_requests`` of the
  reference backend). The layer reports there that a request is about to wait.
- ``above_rules``: True for a layer that a server puts above its rules, so that the layer receives
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


# Plain classes: importing dataclasses, which imports inspect, takes half of a server's start time.


class Request:
    """One transmission request.

    ``offset`` and ``length`` are in bytes. ``payload`` is the data of a WRITE (``length`` bytes),
    else empty. ``cookie`` is the client's 64-bit tag; ``connection`` numbers connections, from 1.
    """

    __slots__ = ("command", "connection", "cookie", "flags", "length", "offset", "payload")

    def __init__(  # noqa: PLR0917  # the fields of a request
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

    ``error`` is 0 or a Linux errno. ``data`` is the data of a READ. ``extents`` maps the name of
    each negotiated metadata context to its extents (BLOCK_STATUS). ``on_wire`` is for faults in
    the encoding: it gets the encoded reply, and returns the bytes to send instead, and whether the
    connection is kept.
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
    """A fault, a seeded bug or a check between the protocol and the volume."""

    def handle(self, request: Request, below: Below) -> Reply:
        """Answer the request; ``below(request)`` returns the answer of the layers below.

        :raise blockio.errors.BlockError: the request fails with that errno.
        """
        ...


def stack(layers: Sequence[Layer], bottom: Below) -> Below:
    """Return one callable that passes a request through all layers, first one on top."""
    below = bottom
    for layer in reversed(layers):
        below = _bind(layer, below)
    return below


def _bind(layer: Layer, below: Below) -> Below:
    def handle(request: Request) -> Reply:
        return layer.handle(request, below)

    return handle


class Checked:
    """A layer that asserts the contract of the layers above and below it.

    Tests put it between two layers. A failed assertion is a defect of a layer, never of a client.
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
            assert covered < request.length, f"extents of {name} continue after the range"
