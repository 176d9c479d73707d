"""``action: disconnect``: the server closes the connection.

    - {event: read_aio, action: disconnect, when: mid-reply, once: true}

``when: before-request``: the request is not carried out, and gets no reply.
``when: before-reply`` (the default): it is carried out, and gets no reply: the client cannot know.
``when: mid-reply``: the reply breaks off after ``sent`` bytes, or at a place drawn from the seed.
``when: after-reply``: the reply is whole, then the connection ends.

``sent``: how many bytes of the reply are sent, with ``mid-reply`` only; at most all but one.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import ClassVar, Literal

from blockio.layers import Reply
from injectors.rules.fault import Call, Fault, rewire


@dataclass(frozen=True)
class Disconnect(Fault):
    """Close the connection around a reply."""

    action: ClassVar[str] = "disconnect"
    when: Literal["before-request", "before-reply", "mid-reply", "after-reply"] = "before-reply"
    sent: int | None = None

    def __post_init__(self) -> None:
        if self.sent is not None and (self.when != "mid-reply" or self.sent < 0):
            raise ValueError("sent is at least 0, and goes with when: mid-reply only")

    def in_words(self) -> str:
        """Say what happens."""
        return {
            "before-request": "is not carried out, and the connection ends",
            "before-reply": "is carried out, and the connection ends without a reply",
            "mid-reply": "is carried out, and the connection ends in the midst of the reply"
            + ("" if self.sent is None else f", after {self.sent} bytes"),
            "after-reply": "is answered, and the connection ends",
        }[self.when]

    def inject(self, call: Call) -> Reply:
        """Answer with a reply that cuts itself off."""
        if self.when == "before-request":
            return Reply(error=errno.EIO, on_wire=lambda _: (b"", False))
        reply = call.carry_out()

        def cut(raw: bytes) -> tuple[bytes, bool]:
            if self.when == "before-reply":
                return b"", False
            if self.when == "after-reply":
                return raw, False
            wanted = call.draw(len(raw)) if self.sent is None else self.sent
            return raw[: min(wanted, len(raw) - 1)], False

        return rewire(reply, cut)
