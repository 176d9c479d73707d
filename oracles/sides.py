"""The two sides of a dual write, as the comparison sees them.

A side takes a batch of requests (``start``) and later returns their outcomes (``finish``), so that
both sides can work at the same time, for example over a network. ``InOrder`` makes a side of any
object that reads and writes. ``Layered`` puts a layer with faults under a side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from blockio import layers
from blockio.errors import BlockError
from blockio.extents import Extent
from blockio.layers import Command, CommandFlag
from oracles.stamps import Data
from oracles.workload import Batch, Kind, Request

_READ, _WRITE = Kind.READ, Kind.WRITE
Payload = bytes | memoryview
Payloads = Sequence[Payload]
"""The data to write, for each request of a batch; empty for requests that write none."""


@dataclass(slots=True)
class Outcome:
    """The outcome of a request: 0 or a Linux errno, and what a read or block status returned.

    ``why``: what the errno cannot say, such as how a side broke the protocol.
    """

    error: int = 0
    data: bytes | bytearray = b""
    extents: Sequence[Extent] = ()
    why: str = ""


class Side(Protocol):
    """One of the two disks. Its size may be rounded up to a multiple of ``rounding``, in bytes."""

    rounding: int

    @property
    def size(self) -> int:
        """The current size in bytes."""
        ...

    def start(self, batch: Batch, payloads: Payloads) -> None:
        """Take requests; they may be in flight until `finish`."""
        ...

    def finish(self) -> list[Outcome]:
        """Return the outcome of each request of the batch that was started, in its order."""
        ...

    def resize(self, size: int) -> None:
        """Change the size, in bytes.

        :raise BlockError: the disk cannot.
        """
        ...


class Plain(Protocol):
    """An object that reads and writes one request at a time, such as a volume of the backend.

    Each method raises BlockError where the request fails.
    """

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    def read(self, offset: int, length: int, /) -> Data:
        """Return bytes."""
        ...

    def write(self, offset: int, data: Payload, /, fua: bool = False) -> None:
        """Write bytes."""
        ...

    def write_zeroes(
        self,
        offset: int,
        length: int,
        /,
        no_hole: bool = False,
        fast_zero: bool = False,
        fua: bool = False,
    ) -> None:
        """Write zeroes."""
        ...

    def discard(self, offset: int, length: int, /) -> None:
        """Discard."""
        ...

    def flush(self) -> None:
        """Flush."""
        ...

    def block_status(self, offset: int, length: int, /) -> Sequence[Extent]:
        """Return extents with the flags of base:allocation."""
        ...

    def resize(self, size: int, /) -> None:
        """Change the size."""
        ...


class _OneByOne(ABC):
    """Carries out the requests of a batch one after the other."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    def start(self, batch: Batch, payloads: Payloads) -> None:
        """Carry out all requests of a batch."""
        self._outcomes = [
            self._one(request, data) for request, data in zip(batch, payloads, strict=True)
        ]

    def finish(self) -> list[Outcome]:
        """Return their outcomes."""
        return self._outcomes

    @abstractmethod
    def _one(self, request: Request, data: Payload) -> Outcome:
        """Carry out one request."""


class InOrder(_OneByOne):
    """A side that carries out one request after the other."""

    rounding = 1

    def __init__(self, disk: Plain) -> None:
        super().__init__()
        self.disk = disk

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.disk.size

    def resize(self, size: int) -> None:
        """Change the size."""
        self.disk.resize(size)

    def _one(self, request: Request, data: Payload) -> Outcome:
        try:
            return self._do(request, data)
        except BlockError as error:
            return Outcome(error.errno)

    def _do(self, request: Request, data: Payload) -> Outcome:
        disk, offset, length = self.disk, request.offset, request.length
        kind = request.kind
        if kind is _READ:
            seen = disk.read(offset, length)
            return Outcome(0, seen if isinstance(seen, bytes | bytearray) else bytes(seen))
        if kind is _WRITE:
            disk.write(offset, data, fua=request.fua)
            return Outcome()
        match kind:
            case Kind.ZERO:
                disk.write_zeroes(
                    offset, length,
                    no_hole=request.no_hole, fast_zero=request.fast, fua=request.fua,
                )  # fmt: skip
            case Kind.DISCARD:
                disk.discard(offset, length)
            case Kind.FLUSH:
                disk.flush()
            case Kind.STATUS:
                return Outcome(0, b"", list(disk.block_status(offset, length)))
            case Kind.RESIZE:
                disk.resize(length)
        return Outcome()


COMMANDS = {
    Kind.READ: Command.READ,
    Kind.WRITE: Command.WRITE,
    Kind.ZERO: Command.WRITE_ZEROES,
    Kind.DISCARD: Command.TRIM,
    Kind.FLUSH: Command.FLUSH,
    Kind.STATUS: Command.BLOCK_STATUS,
}
_KINDS = {command: kind for kind, command in COMMANDS.items()}
CONTEXT = "base:allocation"


def command_flags(request: Request) -> int:
    """Return the flags of a request on the wire of NBD."""
    return (
        (CommandFlag.FUA if request.fua else 0)
        | (CommandFlag.NO_HOLE if request.no_hole else 0)
        | (CommandFlag.FAST_ZERO if request.fast else 0)
    )


class Layered(_OneByOne):
    """A side below a layer, most often with faults; it carries out one request at a time."""

    def __init__(self, side: Side, layer: layers.Layer) -> None:
        super().__init__()
        self.side = side
        self.layer = layer
        self.rounding = side.rounding

    @property
    def size(self) -> int:
        """Size of the side, in bytes."""
        return self.side.size

    def resize(self, size: int) -> None:
        """Change the size; layers do not see that."""
        self.side.resize(size)

    def _one(self, request: Request, data: Payload) -> Outcome:
        asked = layers.Request(
            COMMANDS[request.kind], command_flags(request), request.offset, request.length,
            request.number, data, connection=1,
        )  # fmt: skip
        try:
            reply = self.layer.handle(asked, self._below)
        except BlockError as error:
            return Outcome(error.errno)
        return Outcome(reply.error, bytes(reply.data), reply.extents.get(CONTEXT, ()))

    def _below(self, asked: layers.Request) -> layers.Reply:
        request = Request(
            asked.cookie, _KINDS[asked.command], asked.offset, asked.length,
            fua=bool(asked.flags & CommandFlag.FUA),
            no_hole=bool(asked.flags & CommandFlag.NO_HOLE),
            fast=bool(asked.flags & CommandFlag.FAST_ZERO),
        )  # fmt: skip
        self.side.start((request,), [bytes(asked.payload)])
        (outcome,) = self.side.finish()
        if outcome.error:
            raise BlockError(outcome.error)
        return layers.Reply(0, outcome.data, {CONTEXT: list(outcome.extents)})
