"""``action: disconnect``: the server closes the connection.

    - {event: read_aio, action: disconnect, when: mid-reply, once: true}

``when: before-request``: the request is not carried out, and gets no reply.
``when: before-reply`` (the default): the request is carried out, and gets no reply, so that the
client cannot know whether it was.
``when: mid-reply``: the reply ends after ``sent`` bytes, or at a position drawn from the seed.
``when: after-reply``: the reply is complete, then the connection ends.

``sent``: number of bytes of the reply that are sent, with ``mid-reply`` only; at most all but one.
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
            raise ValueError("sent must be at least 0, and requires when: mid-reply")

    def describe(self) -> str:
        """Describe the fault."""
        return {
            "before-request": "is not carried out, and the connection ends",
            "before-reply": "is carried out, and the connection ends without a reply",
            "mid-reply": "is carried out, and the connection ends in the middle of the reply"
            + ("" if self.sent is None else f", after {self.sent} bytes"),
            "after-reply": "is answered, and the connection ends",
        }[self.when]

    def inject(self, call: Call) -> Reply:
        """Return a reply that closes the connection on the wire."""
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
