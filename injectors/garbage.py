"""``action: garbage``: a reply is malformed.

    - {event: read_aio, action: garbage, what: cookie, once: true}

``what``: the field that gets a wrong value, drawn from the seed:
``magic`` (the default), ``cookie``, ``error`` (of a simple reply), ``flags``, ``type`` or
``length`` (of a structured chunk). If the reply does not have the field, the magic is wrong.
``noise``: the whole reply is bytes drawn from the seed. ``extra``: 16 such bytes follow the reply.

The request is carried out, and the connection stays open. In a structured reply, the first chunk is
damaged. NBD document, "Simple reply message", "Structured reply chunk message", "Extended reply
chunk message".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from blockio.layers import Reply
from injectors.rules.fault import Call, Fault, rewire
from reference_backend.nbd.constants import (
    EXTENDED_REPLY_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
)

Field = tuple[int, int]
"""Offset and length in bytes."""
MAGIC: Field = (0, 4)
EXTRA = 16
_CHUNK: dict[str, Field] = {"magic": MAGIC, "flags": (4, 2), "type": (6, 2), "cookie": (8, 8)}
FIELDS: dict[int, dict[str, Field]] = {
    SIMPLE_REPLY_MAGIC: {"magic": MAGIC, "error": (4, 4), "cookie": (8, 8)},
    STRUCTURED_REPLY_MAGIC: _CHUNK | {"length": (16, 4)},
    EXTENDED_REPLY_MAGIC: _CHUNK | {"length": (24, 8)},
}


@dataclass(frozen=True)
class Garbage(Fault):
    """Damage one field of a reply, or the whole reply."""

    action: ClassVar[str] = "garbage"
    what: Literal["magic", "cookie", "error", "flags", "type", "length", "noise", "extra"] = "magic"

    def describe(self) -> str:
        """Describe the fault."""
        what = {
            "noise": "is noise", "extra": f"is followed by {EXTRA} bytes of noise",
        }.get(self.what, f"has a wrong {self.what}")  # fmt: skip
        return f"is carried out, and its reply {what}"

    def inject(self, call: Call) -> Reply:
        """Return a reply that is damaged on the wire."""
        return rewire(call.carry_out(), lambda raw: (self._damaged(call, raw), True))

    def _damaged(self, call: Call, raw: bytes) -> bytes:
        if self.what == "noise":
            return _noise(call, len(raw))
        if self.what == "extra":
            return raw + _noise(call, EXTRA)
        fields = FIELDS.get(int.from_bytes(raw[:4], "big"), {})
        place, length = fields.get(self.what, MAGIC)
        wrong = int.from_bytes(raw[place : place + length], "big")
        # Never the right value: the added number is neither 0 nor a multiple of the range.
        wrong = (wrong + 1 + call.draw((1 << 8 * length) - 1)) % (1 << 8 * length)
        return raw[:place] + wrong.to_bytes(length, "big") + raw[place + length :]


def _noise(call: Call, length: int) -> bytes:
    words = -(-length // 4)
    return b"".join(call.draw(1 << 32).to_bytes(4, "big") for _ in range(words))[:length]
