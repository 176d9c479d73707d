"""What every kind of fault has: its keys, what it can hurt, and how it answers a request.

A fault is a frozen dataclass: its fields are its keys in a rules file, its docstring is its manual.
What it must remember between requests lies in a memory that the layer keeps for each rule, so that
one rule set can be armed in many places at once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NewType

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from injectors.rules.events import IoType

Errno = NewType("Errno", int)
"""A Linux errno number; in a rules file a name will do."""

NO_ERROR = Errno(0)

SECTOR = 512
"""Bytes of a sector in blkdebug's sense, whatever the disk has."""
ALL = frozenset(IoType)
CHANGING = frozenset({IoType.WRITE, IoType.WRITE_ZEROES, IoType.DISCARD})
"""Requests that change what is stored."""
CHANGING_COMMANDS = frozenset({Command.WRITE, Command.WRITE_ZEROES, Command.TRIM})


class Call:
    """One request that a rule chose, and what a fault may use to answer it.

    ``below(request)`` carries a request out. ``draw(n)`` gives the next whole number from 0 to n-1
    of this fault. ``memory`` is what the fault's ``new_memory`` made. ``sleep(seconds)`` waits, or
    less when the rule is removed; ``hold()`` waits until the rule is resumed or removed.
    """

    __slots__ = ("below", "draw", "hold", "memory", "request", "sleep")

    def __init__(  # noqa: PLR0917  # what a call has
        self,
        request: Request,
        below: Below,
        draw: Callable[[int], int],
        memory: Any = None,
        sleep: Callable[[float], None] | None = None,
        hold: Callable[[], None] | None = None,
    ) -> None:
        self.request = request
        self.below = below
        self.draw = draw
        self.memory = memory
        self.sleep = sleep or _cannot_wait
        self.hold = hold or _cannot_wait

    def carry_out(self) -> Reply:
        """Carry the request out; a failure is a reply too, for faults of the wire."""
        try:
            return self.below(self.request)
        except BlockError as error:
            return Reply(error=error.errno)


def _cannot_wait(*_: float) -> None:
    msg = "this place gave no way to wait"
    raise RuntimeError(msg)


@dataclass(frozen=True)
class Fault:
    """Root of all faults. ``waits`` and ``watches`` say what a place must do for a rule."""

    action: ClassVar[str] = ""
    hurts: ClassVar[frozenset[IoType]] = ALL
    """Kinds of request that the fault can be injected into."""
    waits: ClassVar[bool] = False
    """True if a request may take long."""
    watches: ClassVar[bool] = False
    """True if ``before`` and ``after`` must see every request while the rule is there."""

    @property
    def idle(self) -> bool:
        """True for a rule that matches and does nothing, which masks later rules."""
        return False

    def in_words(self) -> str:
        """Say what happens to a request: the end of a sentence that begins "such a request"."""
        raise NotImplementedError

    def new_memory(self) -> Any:
        """Return what the fault remembers between requests; None for most."""
        return None

    def applies(self, request: Request, memory: Any) -> bool:
        """Return whether the fault can do anything to this request, of a kind that it hurts."""
        del request, memory
        return True

    def inject(self, call: Call) -> Reply:
        """Answer the request wrongly.

        :raise BlockError: the layers beneath failed.
        """
        raise NotImplementedError

    def before(self, request: Request, below: Below, memory: Any) -> None:
        """Take note of a request that is about to be carried out."""

    def after(self, request: Request, memory: Any) -> None:
        """Take note that a request was answered."""

    def release(self, memory: Any) -> None:
        """Carry out what the fault still holds: its rule is going."""


Wire = Callable[[bytes], tuple[bytes, bool]]
"""From an encoded reply to what is sent instead, and whether the connection lives."""


def rewire(reply: Reply, change: Wire) -> Reply:
    """Change what a reply looks like on the wire, after what a layer beneath changed."""
    beneath = reply.on_wire
    if beneath is None:
        reply.on_wire = change
        return reply

    def both(raw: bytes) -> tuple[bytes, bool]:
        raw, lives = beneath(raw)
        raw, still = change(raw)
        return raw, lives and still

    reply.on_wire = both
    return reply


def errno_words(number: int) -> str:
    """Return ``ENOSPC (No space left on device)``."""
    return f"{errno.errorcode.get(number, number)} ({os.strerror(number)})"


def failing(number: int) -> str:
    """Return how a sentence ends where a fault may fail in the end."""
    return f", then fails with {errno_words(number)}" if number else ""


def with_fields(request: Request, **fields: Any) -> Request:
    """Return a copy of a request with other fields; a layer never changes what it was given."""
    values = {name: getattr(request, name) for name in Request.__slots__} | fields
    return Request(**values)
