"""``action: garbage``: a reply is malformed.

    - {event: read_aio, action: garbage, what: cookie, once: true}

``what``: the field that gets a wrong value, drawn from the seed:
``magic`` (the default), ``cookie``, ``error`` (a simple reply's), ``flags``, ``type`` or ``length``
(a structured chunk's). Where a reply has no such field, the magic is wrong instead.
``noise``: the whole reply is bytes drawn from the seed. ``extra``: 16 such bytes follow the reply.

The request is carried out, and the connection lives on. Of a structured reply the first chunk is
meant. NBD document, "Simple reply message", "Structured reply chunk message", "Extended reply
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
"""Place and length in bytes."""
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
    """Spoil one field of a reply, or all of it."""

    action: ClassVar[str] = "garbage"
    what: Literal["magic", "cookie", "error", "flags", "type", "length", "noise", "extra"] = "magic"

    def in_words(self) -> str:
        """Say what happens."""
        what = {
            "noise": "is noise", "extra": f"is followed by {EXTRA} bytes of noise",
        }.get(self.what, f"has a wrong {self.what}")  # fmt: skip
        return f"is carried out, and its reply {what}"

    def inject(self, call: Call) -> Reply:
        """Answer with a reply that is spoilt on the wire."""
        return rewire(call.carry_out(), lambda raw: (self._spoilt(call, raw), True))

    def _spoilt(self, call: Call, raw: bytes) -> bytes:
        if self.what == "noise":
            return _noise(call, len(raw))
        if self.what == "extra":
            return raw + _noise(call, EXTRA)
        fields = FIELDS.get(int.from_bytes(raw[:4], "big"), {})
        place, length = fields.get(self.what, MAGIC)
        wrong = int.from_bytes(raw[place : place + length], "big")
        # Never the right value: what is added is neither 0 nor a multiple of the field's range.
        wrong = (wrong + 1 + call.draw((1 << 8 * length) - 1)) % (1 << 8 * length)
        return raw[:place] + wrong.to_bytes(length, "big") + raw[place + length :]


def _noise(call: Call, length: int) -> bytes:
    words = -(-length // 4)
    return b"".join(call.draw(1 << 32).to_bytes(4, "big") for _ in range(words))[:length]
