"""The last requests that a case sent, so that the death of a server can name the one it died of.

Each case runs in a process of its own, so the journal is that of one case. A request is noted
before it is sent and gets its result when its reply arrives: one without a result is in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_KEPT = 64
OK = "ok"


@dataclass
class Sent:
    """A request in words. ``result`` is ``ok``, an error in words, or "" while it is in flight."""

    text: str
    result: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.result or 'no reply'}"


_journal: deque[Sent] = deque(maxlen=_KEPT)


def note(text: str) -> Sent:
    """Note a request that is about to be sent. The caller sets its result."""
    sent = Sent(text)
    _journal.append(sent)
    return sent


def forget() -> None:
    """Forget all requests: another server is the target from now on."""
    _journal.clear()


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
