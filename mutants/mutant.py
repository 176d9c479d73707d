"""The base of all mutants: it decides whether the bug applies to a request."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from typing import ClassVar

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants import clock
from mutants.knobs import ALL, COMMANDS, KnobError, Knobs

BLOCK = 4096
"""Bytes of a block in mutants that keep a map of blocks."""


class Mutant:
    """One seeded bug: a layer that passes every request on, unless a subclass damages it.

    Class attributes: ``id``, ``source`` (the real bug that it models), ``breaks`` (one sentence),
    ``shows`` (the kinds of damage by which a diagnosis names this bug: words of
    `oracles.damage.Damage` or `qbdcheck.mutation.expectation.EFFECTS`), ``says`` (a pattern for the
    text of failures without data, such as an error of a program), ``default_rate`` (default of the
    knob ``rate``), ``commands`` (the requests that the bug can damage) and ``takes`` (its knobs).

    Most bugs derive from `RequestMutant` or `ReplyMutant` and say only what they damage. A bug in
    code that no layer can reach patches the backend in `install`.

    :param options: knobs, as options of ``--layer`` (mutants.knobs).
    :raise KnobError: a knob or its value is wrong.
    """

    id: ClassVar[str] = ""
    source: ClassVar[str] = ""
    breaks: ClassVar[str] = ""
    shows: ClassVar[tuple[str, ...]] = ()
    says: ClassVar[str] = ""
    default_rate: ClassVar[int] = 1
    commands: ClassVar[tuple[Command, ...]] = tuple(COMMANDS.values())
    takes: ClassVar[tuple[str, ...]] = ALL
    waits = False
    above_rules = True
    """The bug is in the backend, and rules are faults of the disk below it."""
    base: ClassVar[str] = "reference"
    """The target that gets the bug, unless ``@TARGET`` names another one."""
    memory_only: ClassVar[bool] = False
    """The bug is in the code of the memory store; other stores do not have it."""

    def __init__(self, **options: str) -> None:
        self.knobs = self.knobs_of(options)
        self._random = random.Random(self.knobs.seed)
        self._lock = threading.RLock()
        self._seen = 0
        self._is_armed = not self.knobs.idle_s
        self._last_s = clock.now_s()
        self.install()

    @classmethod
    def knobs_of(cls, options: Mapping[str, str]) -> Knobs:
        """Return the knobs that the options set.

        :raise KnobError: a knob or its value is wrong.
        """
        try:
            return Knobs(options, cls.default_rate, cls.takes, cls.commands)
        except KnobError as error:
            raise KnobError(f"{cls.id}: {error}") from None

    def install(self) -> None:
        """Set up the state of the bug, and patch the backend where a layer cannot be the bug."""

    def strikes(self, request: Request | None = None) -> bool:
        """Return whether the bug strikes now; call it only where the bug would do damage.

        Each call is one occasion for the knobs ``rate`` and ``after``.

        :param request: the request that would be damaged; None if the bug is not in a request.
        """
        if request is not None and not self._is_in_scope(request):
            return False
        with self._lock:
            if not self._is_armed:
                return False
            self._seen += 1
            rate = self.knobs.rate
            is_drawn = rate == 1 or self._random.randrange(rate) == 0
            return is_drawn and self._seen > self.knobs.after

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
        """Arm the bug if the time of the knob ``idle`` has passed, then carry out the request."""
        if not self._is_armed:
            now_s = clock.now_s()
            with self._lock:
                self._is_armed |= now_s - self._last_s >= self.knobs.idle_s
                self._last_s = now_s
        return self.carry_out(request, below)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Carry out the request; a bug that fits neither template calls `strikes` itself."""
        return below(request)


class RequestMutant(Mutant):
    """A bug that damages a request on its way down.

    ``observe`` sees every request. ``damages`` selects requests among ``commands``. ``damage``
    carries out a selected request wrongly, if the knobs allow it.
    """

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Damage the request, or pass it on."""
        self.observe(request)
        is_occasion = self._is_in_scope(request) and self.damages(request)
        if is_occasion and self.strikes(request):
            return self.damage(request, below)
        return below(request)

    def observe(self, request: Request) -> None:
        """Note a request before it is carried out."""

    def damages(self, request: Request) -> bool:
        """Return whether the bug would damage this request of one of its ``commands``."""
        return True

    def damage(self, request: Request, below: Below) -> Reply:
        """Carry out the request wrongly.

        :raise BlockError: the request fails with that errno.
        """
        raise NotImplementedError


class ReplyMutant(Mutant):
    """A bug that damages a reply on its way up.

    ``observe`` sees every request that succeeded. ``damages_reply`` selects replies to
    ``commands``. ``damage_reply`` changes a selected reply, if the knobs allow it.
    """

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Carry out the request, and damage its reply."""
        reply = below(request)
        self.observe(request)
        is_occasion = self._is_in_scope(request) and self.damages_reply(request, reply)
        if is_occasion and self.strikes(request):
            self.damage_reply(request, reply)
        return reply

    def observe(self, request: Request) -> None:
        """Note a request that was carried out."""

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the bug would damage this reply to one of its ``commands``."""
        return True

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Change the reply in place."""
        raise NotImplementedError


class StatusMutant(ReplyMutant):
    """A bug that damages the extents of a block status."""

    commands = (Command.BLOCK_STATUS,)

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether there are extents."""
        return bool(reply.extents)


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
    """Read from the layers below.

    :raise BlockError: the read fails.
    """
    asked = Request(Command.READ, 0, offset, length, request.cookie, b"", request.connection)
    return bytes(below(asked).data)


def write(request: Request, below: Below, offset: int, data: bytes) -> None:
    """Write to the layers below, without FUA.

    :raise BlockError: the write fails.
    """
    asked = Request(Command.WRITE, 0, offset, len(data), request.cookie, data, request.connection)
    below(asked)


def raising(below: Below) -> Below:
    """Return ``below`` with replies that carry an error raised as `BlockError`."""

    def ask(request: Request) -> Reply:
        reply = below(request)
        if reply.error:
            raise BlockError(reply.error, "failed below")
        return reply

    return ask


def without(request: Request, flag: CommandFlag) -> Request:
    """Return a copy of the request without a flag."""
    return changed(request, flags=request.flags & ~flag)


def with_flipped_bit(data: bytes | bytearray | memoryview) -> bytes:
    """Return a copy of the data, not empty, with one bit of the middle byte flipped."""
    wrong = bytearray(data)
    wrong[len(wrong) // 2] ^= 0x10
    return bytes(wrong)


def blocks(offset: int, length: int, size: int = BLOCK) -> range:
    """Return the numbers of the blocks that a range touches."""
    return range(offset // size, (offset + length + size - 1) // size)


def whole_blocks(offset: int, length: int, size: int = BLOCK) -> range:
    """Return the numbers of the blocks that lie completely in a range."""
    return range((offset + size - 1) // size, (offset + length) // size)
