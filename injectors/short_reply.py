"""``action: short``: the end of a reply is missing, and the connection stays open.

    - {event: read_aio, action: short, missing: 512, iotype: read}

``missing``: number of bytes of the reply that are not sent, at most all; drawn from the seed by
default. The request is carried out.

The client waits for the rest, and reads the next reply as the rest. To close the connection, see
``disconnect`` with ``when: mid-reply``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from blockio.layers import Reply
from injectors.rules.fault import Call, Fault, rewire


@dataclass(frozen=True)
class ShortReply(Fault):
    """Omit the last ``missing`` bytes of a reply."""

    action: ClassVar[str] = "short"
    missing: int | None = None

    def __post_init__(self) -> None:
        if self.missing is not None and self.missing < 1:
            raise ValueError("missing must be at least 1 byte")

    def describe(self) -> str:
        """Describe the fault."""
        many = "some" if self.missing is None else str(self.missing)
        return f"is carried out, and its reply lacks {many} bytes at the end"

    def inject(self, call: Call) -> Reply:
        """Return a reply that is shortened on the wire."""

        def shorten(raw: bytes) -> tuple[bytes, bool]:
            lost = 1 + call.draw(len(raw)) if self.missing is None else self.missing
            return raw[: max(0, len(raw) - lost)], True

        return rewire(call.carry_out(), shorten)
