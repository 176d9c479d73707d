"""What all mutants share: knobs, and access to the volume beneath."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from typing import ClassVar

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.knobs import ALL, COMMANDS, KnobError, Knobs

BLOCK = 4096
"""Bytes of a block in mutants that keep a map of blocks."""


class Mutant:
    """One seeded bug: a layer that passes everything on unless a subclass says otherwise.

    Class attributes: ``id``, ``source`` (the bug it is modelled on), ``breaks`` (one sentence),
    ``shows`` (by which kinds of damage a diagnosis names this bug: words of
    `oracles.damage.Damage` or `qbdcheck.mutation.expectation.EFFECTS`), ``says`` (a pattern for the
    text of failures of which there is no data, such as an error of a program), ``usual_rate`` (the
    knob's default), ``commands`` (of which this is a bug) and ``takes`` (which knobs it has).

    :param words: knobs, as options of ``--layer`` (mutants.knobs).
    :raise KnobError: one of them is wrong.
    """

    id: ClassVar[str] = ""
    source: ClassVar[str] = ""
    breaks: ClassVar[str] = ""
    shows: ClassVar[tuple[str, ...]] = ()
    says: ClassVar[str] = ""
    usual_rate: ClassVar[int] = 1
    commands: ClassVar[tuple[Command, ...]] = tuple(COMMANDS.values())
    takes: ClassVar[tuple[str, ...]] = ALL
    waits = False

    def __init__(self, **words: str) -> None:
        self.knobs = self.knobs_of(words)
        self._random = random.Random(self.knobs.seed)
        self._lock = threading.RLock()
        self._seen = 0
        self._is_armed = not self.knobs.idle_s
        self._last_s = time.monotonic()
        self.install()

    @classmethod
    def knobs_of(cls, words: Mapping[str, str]) -> Knobs:
        """Return the knobs that the words set.

        :raise KnobError: one is wrong.
        """
        try:
            return Knobs(words, cls.usual_rate, cls.takes, cls.commands)
        except KnobError as error:
            raise KnobError(f"{cls.id}: {error}") from None

    def install(self) -> None:
        """Change the code of the backend, where a layer cannot be the bug."""

    def strikes(self, request: Request | None = None) -> bool:
        """Say whether the bug shows on this occasion: asked only where it would do damage.

        :param request: the request that it would damage; None where the occasion is none.
        """
        if request is not None and not self._is_in_scope(request):
            return False
        with self._lock:
            if not self._is_armed:
                return False
            self._seen += 1
            rate = self.knobs.rate
            by_chance = rate == 1 or self._random.randrange(rate) == 0
            return by_chance and self._seen > self.knobs.after

    def _is_in_scope(self, request: Request) -> bool:
        knobs = self.knobs
        if request.command not in knobs.commands:
            return False
        if knobs.connection and request.connection != knobs.connection:
            return False
        if not knobs.has_range:
            return True
        end = request.offset + max(request.length, 1)
        is_placed = request.command is not Command.FLUSH
        return is_placed and request.offset <= knobs.last and end > knobs.first

    def handle(self, request: Request, below: Below) -> Reply:
        """Take note of the request for the knob ``idle``, and let the bug have it."""
        if not self._is_armed:
            now_s = time.monotonic()
            with self._lock:
                self._is_armed |= now_s - self._last_s >= self.knobs.idle_s
                self._last_s = now_s
        return self.meddle(request, below)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Do the damage; here, pass the request on."""
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
    asked = Request(Command.WRITE, 0, offset, len(data), request.cookie, data, request.connection)
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
