"""The base class of faults: keys, affected kinds of request, and the injection.

A fault is a frozen dataclass. Its fields are its keys in a rules file, and the docstring of its
module is its manual. State between requests is in a memory that the layer keeps for each rule, so
that several layers can use one rule set at the same time.
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
"""A Linux errno number; a rules file may have its name."""

NO_ERROR = Errno(0)

SECTOR = 512
"""Bytes of a sector in blkdebug, whatever the sector size of the disk."""
ALL = frozenset(IoType)
CHANGING = frozenset({IoType.WRITE, IoType.WRITE_ZEROES, IoType.DISCARD})
"""Kinds of request that change stored data."""
CHANGING_COMMANDS = frozenset({Command.WRITE, Command.WRITE_ZEROES, Command.TRIM})


class Call:
    """A request that meets a rule, and the means to answer it.

    ``below(request)`` carries a request out. ``draw(n)`` draws the next whole number from 0 to n-1.
    ``memory`` is the result of the fault's ``new_memory``. ``sleep(seconds)`` waits, but only until
    the rule is removed. ``hold()`` waits until the rule is resumed or removed.
    """

    __slots__ = ("below", "draw", "hold", "memory", "request", "sleep")

    def __init__(  # noqa: PLR0917  # the parts of a call
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
        """Carry the request out; return a failure as a reply, for faults on the wire."""
        try:
            return self.below(self.request)
        except BlockError as error:
            return Reply(error=error.errno)


def _cannot_wait(*_: float) -> None:
    msg = "this caller provides no way to wait"
    raise RuntimeError(msg)


@dataclass(frozen=True)
class Fault:
    """Base class of all faults. A layer reads ``waits`` and ``watches``."""

    action: ClassVar[str] = ""
    hurts: ClassVar[frozenset[IoType]] = ALL
    """Kinds of request to which the fault can apply."""
    waits: ClassVar[bool] = False
    """True if the fault can delay a request."""
    watches: ClassVar[bool] = False
    """True if ``before`` and ``after`` must be called for every request while the rule exists."""

    @property
    def idle(self) -> bool:
        """True for a rule that matches and does nothing, and so hides later rules."""
        return False

    def describe(self) -> str:
        """Return the end of a sentence that begins with "such a request"."""
        raise NotImplementedError

    def new_memory(self) -> Any:
        """Return the state of the fault between requests; None for most faults."""
        return None

    def applies(self, request: Request, memory: Any) -> bool:
        """Return whether the fault has an effect on this request, whose kind is in ``hurts``."""
        del request, memory
        return True

    def inject(self, call: Call) -> Reply:
        """Answer the request wrongly.

        :raise BlockError: a layer below failed.
        """
        raise NotImplementedError

    def before(self, request: Request, below: Below, memory: Any) -> None:
        """Observe a request before it is carried out."""

    def after(self, request: Request, memory: Any) -> None:
        """Observe a request after it was answered."""

    def release(self, memory: Any) -> None:
        """Release the requests that the fault holds, because its rule is removed."""


Wire = Callable[[bytes], tuple[bytes, bool]]
"""A function of an encoded reply; returns what to send, and whether the connection stays open."""


def rewire(reply: Reply, change: Wire) -> Reply:
    """Add a change of the encoded reply, after the changes of the layers below."""
    beneath = reply.on_wire
    if beneath is None:
        reply.on_wire = change
        return reply

    def both(raw: bytes) -> tuple[bytes, bool]:
        raw, is_open = beneath(raw)
        raw, is_still_open = change(raw)
        return raw, is_open and is_still_open

    reply.on_wire = both
    return reply


def errno_words(number: int) -> str:
    """Return ``ENOSPC (No space left on device)``."""
    return f"{errno.errorcode.get(number, number)} ({os.strerror(number)})"


def failing(number: int) -> str:
    """Return the end of a sentence for a fault that may fail the request at its end."""
    return f", then fails with {errno_words(number)}" if number else ""


def with_fields(request: Request, **fields: Any) -> Request:
    """Return a copy of a request with changed fields; a layer never changes its argument."""
    values = {name: getattr(request, name) for name in Request.__slots__} | fields
    return Request(**values)
