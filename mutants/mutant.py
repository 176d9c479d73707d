"""What all mutants share: knobs, and access to the volume beneath."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import ClassVar

from reference_backend.layers import Below, Command, CommandFlag, Reply, Request

BLOCK = 4096
"""Bytes of a block in mutants that keep a map of blocks."""


class Mutant:
    """One seeded bug: a layer that passes everything on unless a subclass says otherwise.

    Knobs, as options of ``--layer``: ``rate`` N strikes at one in N occasions, by chance from
    ``seed``; ``after`` lets that many occasions pass first. Class attributes: ``id``, ``source``
    (the bug it is modelled on), ``breaks`` (one sentence), ``shows`` (a pattern: what a diagnosis
    says that names this damage), ``rate`` (its default).
    """

    id: ClassVar[str] = ""
    source: ClassVar[str] = ""
    breaks: ClassVar[str] = ""
    shows: ClassVar[str] = ""
    usual_rate: ClassVar[int] = 1
    waits = False

    def __init__(self, rate: str = "", after: str = "0", seed: str = "1") -> None:
        self.rate = int(rate) if rate else self.usual_rate
        self._after = int(after)
        if self.rate < 1 or self._after < 0:
            msg = f"{self.id}: rate is at least 1, after at least 0"
            raise ValueError(msg)
        self._random = random.Random(int(seed))
        self._lock = threading.RLock()
        self._seen = 0
        self.install()

    def install(self) -> None:
        """Change the code of the backend, where a layer cannot be the bug."""

    def strikes(self) -> bool:
        """Say whether the bug shows on this occasion."""
        with self._lock:
            self._seen += 1
            return self._seen > self._after and self._random.randrange(self.rate) == 0

    def handle(self, request: Request, below: Below) -> Reply:
        """Pass the request on."""
        return below(request)


def changed(  # noqa: PLR0917  # the fields of a request
    request: Request,
    command: Command | None = None,
    offset: int | None = None,
    length: int | None = None,
    payload: bytes | None = None,
    flags: int | None = None,
) -> Request:
    """Return a copy of a request with some fields changed."""
    if payload is not None and length is None:
        length = len(payload)
    return Request(
        request.command if command is None else command,
        request.flags if flags is None else flags,
        request.offset if offset is None else offset,
        request.length if length is None else length,
        request.cookie,
        request.payload if payload is None else payload,
        request.connection,
    )


def read(request: Request, below: Below, offset: int, length: int) -> bytes:
    """Read from beneath.

    :raise BlockError: as the volume does.
    """
    asked = Request(Command.READ, 0, offset, length, request.cookie, b"", request.connection)
    return bytes(below(asked).data)


def write(request: Request, below: Below, offset: int, data: bytes) -> None:
    """Write beneath, without FUA.

    :raise BlockError: as the volume does.
    """
    asked = Request(
        Command.WRITE, 0, offset, len(data), request.cookie, data, request.connection
    )
    below(asked)


def without(request: Request, flag: CommandFlag) -> Request:
    """Return the request without a flag."""
    return changed(request, flags=request.flags & ~flag)


def blocks(offset: int, length: int, size: int = BLOCK) -> range:
    """Return the numbers of the blocks that a range touches."""
    return range(offset // size, (offset + length + size - 1) // size)


def whole_blocks(offset: int, length: int, size: int = BLOCK) -> range:
    """Return the numbers of the blocks that lie wholly in a range."""
    return range((offset + size - 1) // size, (offset + length) // size)


def subclasses(of: type[Mutant]) -> Iterator[type[Mutant]]:
    """Yield all mutants that are defined so far."""
    for one in of.__subclasses__():
        if one.id:
            yield one
        yield from subclasses(one)
