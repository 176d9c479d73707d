"""Requests, replies, and the layers between the wire and a volume.

A layer sees each request on its way down and each reply on its way up: ``handle(request, below)``,
where ``below(request)`` is the next layer, and at the bottom the volume itself. The interface above
equals the one below, so layers stack in any order. All faults and all seeded bugs are layers, loaded
by module name; a server without layers is provably the correct backend, and pays nothing for them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reference_backend.store.extents import Extent


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


@dataclass(slots=True)
class Request:
    """One transmission request.

    ``offset`` and ``length`` are in bytes. ``payload`` is the data of a WRITE (``length`` bytes), else
    empty. ``cookie`` is the client's 64-bit tag; ``connection`` numbers the connection, from 1.
    """

    command: Command
    flags: int
    offset: int
    length: int
    cookie: int
    payload: bytes | bytearray | memoryview = b""
    connection: int = 0


@dataclass(slots=True)
class Reply:
    """The answer to one request.

    ``error`` is 0 or a Linux errno. ``data`` is what a READ returned. ``extents`` maps the id of each
    negotiated metadata context to its extents (BLOCK_STATUS).
    """

    error: int = 0
    data: bytes | bytearray | memoryview = b""
    extents: dict[str, Sequence[Extent]] = field(default_factory=dict)


Below = Callable[[Request], Reply]


class Layer(Protocol):
    """What stands between the wire and the volume: a fault, a seeded bug, a check."""

    def handle(self, request: Request, below: Below) -> Reply:
        """Answer the request; call ``below(request)`` for what the layers beneath would answer.

        :raise reference_backend.store.errors.BlockError: the request fails with that errno.
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
