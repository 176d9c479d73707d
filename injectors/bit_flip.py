"""``action: corrupt``: bits of the data are flipped.

    - {event: read_aio, action: corrupt, bits: 1, probability: 0.01, iotype: read}
    - {event: write_aio, action: corrupt, iotype: write, once: true}

A read returns wrong data, while the stored data stays right. A write stores wrong data, and is
acknowledged.

``bits``: number of different bits, 1 by default. The bits are drawn from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from blockio.layers import Command, Reply, Request
from injectors.rules.events import IoType
from injectors.rules.fault import Call, Fault, with_fields

BITS_MAX = 4096


@dataclass(frozen=True)
class BitFlip(Fault):
    """Flip ``bits`` bits of what is read or written."""

    action: ClassVar[str] = "corrupt"
    hurts: ClassVar[frozenset[IoType]] = frozenset({IoType.READ, IoType.WRITE})
    bits: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= BITS_MAX:
            raise ValueError(f"bits must be from 1 to {BITS_MAX}")

    def describe(self) -> str:
        """Describe the fault."""
        return f"has {self.bits} bit{'s' * (self.bits > 1)} of its data flipped"

    def applies(self, request: Request, memory: Any) -> bool:
        """Return whether there is data; CACHE counts as a read and has none."""
        del memory
        return request.length > 0 and request.command is not Command.CACHE

    def inject(self, call: Call) -> Reply:
        """Flip bits in the payload of a write, or in the data of a reply."""
        if call.request.command is Command.WRITE:
            payload = self._flipped(call, call.request.payload)
            return call.below(with_fields(call.request, payload=payload))
        reply = call.below(call.request)
        if not reply.error:
            reply.data = self._flipped(call, reply.data)
        return reply

    def _flipped(self, call: Call, data: bytes | bytearray | memoryview) -> bytes:
        wrong = bytearray(data)
        chosen: set[int] = set()
        while len(chosen) < min(self.bits, len(wrong) * 8):
            chosen.add(call.draw(len(wrong) * 8))
        for bit in chosen:
            wrong[bit // 8] ^= 1 << bit % 8
        return bytes(wrong)
