"""``action: short``: a reply lacks its end, while the connection lives on.

    - {event: read_aio, action: short, missing: 512, iotype: read}

``missing``: how many bytes of the reply are not sent; drawn from the seed if not given; at most all
of it. The request is carried out.

The client waits for the rest, and takes the next reply for it. To break off instead, see
``disconnect`` with ``when: mid-reply``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from blockio.layers import Reply
from injectors.rules.fault import Call, Fault, rewire


@dataclass(frozen=True)
class ShortReply(Fault):
    """Leave out the last ``missing`` bytes of a reply."""

    action: ClassVar[str] = "short"
    missing: int | None = None

    def __post_init__(self) -> None:
        if self.missing is not None and self.missing < 1:
            raise ValueError("missing is at least 1 byte")

    def in_words(self) -> str:
        """Say what happens."""
        many = "some" if self.missing is None else str(self.missing)
        return f"is carried out, and its reply lacks {many} bytes at the end"

    def inject(self, call: Call) -> Reply:
        """Answer with a reply that is cut on the wire."""

        def shorten(raw: bytes) -> tuple[bytes, bool]:
            lost = 1 + call.draw(len(raw)) if self.missing is None else self.missing
            return raw[: max(0, len(raw) - lost)], True

        return rewire(call.carry_out(), shorten)
