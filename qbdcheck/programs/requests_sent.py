"""The last requests that a case sent, so that the death of a server can name the one it died of.

Each case runs in a process of its own, so the journal is that of one case. A request is noted
before it is sent and gets its result when its reply arrives: one without a result is in flight.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from oracles.finding import SECTOR
from oracles.history import History

_KEPT = 64
OK = "ok"
_COMMAND = re.compile(r"(?:aio_)?(?:read|write|discard)\b[^:]* (\d+) (\d+): ")
"""A command of qemu-io that failed."""
_SECTOR = re.compile(r"\bsector (\d+)\b")
_EDGES = re.compile(r"\[(\d+), (\d+)\)")
_RANGE = re.compile(r"\b(\d+) bytes at (?:offset )?(\d+)\b")


@dataclass
class Sent:
    """A request in words. ``result`` is ``ok``, an error in words, or "" while it is in flight.

    :ivar place: the offset and length of its range in bytes; None if it has none.
    :ivar history: of the volume that it was sent to; None if that is not known.
    """

    text: str
    result: str = ""
    place: tuple[int, int] | None = None
    history: History | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.text}: {self.result or 'no reply'}"


_journal: deque[Sent] = deque(maxlen=_KEPT)
_resizes: deque[tuple[str, int, int]] = deque(maxlen=_KEPT)
_histories: WeakKeyDictionary[object, tuple[History, str]] = WeakKeyDictionary()


def note(text: str, place: tuple[int, int] | None = None, history: History | None = None) -> Sent:
    """Note a request that is about to be sent. The caller sets its result."""
    sent = Sent(text, place=place, history=history)
    _journal.append(sent)
    return sent


def belongs(client: object, history: History, lane: str) -> None:
    """Note that what a client sends goes to the volume of a history, and how that calls it."""
    _histories[client] = history, lane


def history_of(client: object) -> tuple[History | None, str]:
    """Return the history of the volume that a client sends to, None if unknown, and its lane."""
    return _histories.get(client, (None, ""))


def last_about(text: str) -> Sent | None:
    """Return the last request to a known volume that a text names, or that is at its place.

    :param text: names a range as ``512 bytes at 4096`` or ``[4096, 4608)``, ``sector 8``, or
        begins with a command of qemu-io. Without such a range, the result is None.
    """
    if found := _RANGE.search(text):
        offset, length = int(found[2]), int(found[1])
    elif found := _COMMAND.match(text):
        offset, length = int(found[1]), int(found[2])
    elif found := _EDGES.search(text):
        offset, length = int(found[1]), int(found[2]) - int(found[1])
    elif found := _SECTOR.search(text):
        offset, length = int(found[1]) * SECTOR, SECTOR
    else:
        return None
    known = [one for one in reversed(_journal) if one.history is not None and one.place]
    exact = (one for one in known if one.place == (offset, length))
    around = (
        one
        for one in known[:1]
        if one.place and one.place[0] <= offset < one.place[0] + one.place[1]
    )
    return next((replace(one, place=(offset, length)) for one in (*exact, *around)), None)


def resized(name: str, before: int, after: int) -> None:
    """Note that a volume has another size, in bytes."""
    _resizes.append((name, before, after))


def resize_to(size: int) -> str:
    """Return the last change to a size in words; "" if no volume was resized to it."""
    for name, before, after in reversed(_resizes):
        if after == size:
            way = "grown" if after > before else "shrunk"
            return f"{name} had {way} from {before} to {after} bytes"
    return ""


def forget() -> None:
    """Forget all requests: another server is the target from now on."""
    _journal.clear()
    _resizes.clear()


def last_requests() -> Sequence[Sent]:
    """Return the last requests, the oldest first."""
    return tuple(_journal)


def fatal_request(sent: Sequence[Sent]) -> Sent | None:
    """Return the request that a server probably died of; None if all succeeded.

    It is the first of those after the last success: the others came when the server was gone.
    """
    fatal = None
    for one in reversed(sent):
        if one.result == OK:
            break
        fatal = one
    return fatal
