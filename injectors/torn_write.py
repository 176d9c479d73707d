"""``action: torn``: only some sectors of a write are stored.

    - {event: write_aio, action: torn, keep: first-sectors, sectors: 3}
    - {event: write_aio, action: torn, keep: some-sectors, errno: EIO}

``keep``: ``first-sectors`` (the default), ``last-sectors``, ``even-sectors`` (the first, the third,
...), or ``some-sectors``, drawn from the seed: at least one is stored and at least one is not.
``sectors``: how many first or last ones; drawn from the seed if not given.
``errno``: fail with it after; 0 (the default) acknowledges the write.

A sector has 512 bytes and is never torn itself. A write within one sector is not hurt.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal

from blockio.layers import Reply, Request
from injectors.rules.events import IoType
from injectors.rules.fault import NO_ERROR, SECTOR, Call, Errno, Fault, failing, with_fields


@dataclass(frozen=True)
class TornWrite(Fault):
    """Store a part of the sectors."""

    action: ClassVar[str] = "torn"
    hurts: ClassVar[frozenset[IoType]] = frozenset({IoType.WRITE})
    keep: Literal["first-sectors", "last-sectors", "even-sectors", "some-sectors"] = "first-sectors"
    sectors: int | None = None
    errno: Errno = NO_ERROR

    def __post_init__(self) -> None:
        counted = self.keep in {"first-sectors", "last-sectors"}
        if self.sectors is not None and not (counted and self.sectors >= 1):
            raise ValueError("sectors is at least 1, and goes with first- and last-sectors only")

    def in_words(self) -> str:
        """Say what happens."""
        count = "" if self.sectors is None else f" ({self.sectors})"
        stored = f"is stored only in its {self.keep.replace('-', ' ')}{count}"
        return stored + (failing(self.errno) or ", and is acknowledged")

    def applies(self, request: Request, memory: Any) -> bool:
        """The write has more sectors than are kept."""
        del memory
        return _sectors(request) > (self.sectors or 1)

    def inject(self, call: Call) -> Reply:
        """Store the sectors that are kept, each run of them as one write."""
        request = call.request
        kept = self._kept(call, _sectors(request))
        begin = request.offset // SECTOR * SECTOR
        for stored, run in groupby(range(len(kept)), key=lambda n: kept[n]):
            if not stored:
                continue
            numbers = list(run)
            first = max(begin + numbers[0] * SECTOR, request.offset)
            stop = min(begin + (numbers[-1] + 1) * SECTOR, request.offset + request.length)
            part = request.payload[first - request.offset : stop - request.offset]
            reply = call.below(
                with_fields(request, offset=first, length=stop - first, payload=part)
            )
            if reply.error:
                return reply
        return Reply(error=self.errno)

    def _kept(self, call: Call, total: int) -> list[bool]:
        if self.keep == "even-sectors":
            return [n % 2 == 0 for n in range(total)]
        if self.keep == "some-sectors":
            kept = [bool(call.draw(2)) for _ in range(total)]
            if len(set(kept)) == 1:
                kept[call.draw(total)] = not kept[0]
            return kept
        count = 1 + call.draw(total - 1) if self.sectors is None else self.sectors
        kept = [n < count for n in range(total)]
        return kept if self.keep == "first-sectors" else kept[::-1]


def _sectors(request: Request) -> int:
    """Return how many sectors a request touches."""
    first = request.offset // SECTOR
    return (request.offset + request.length + SECTOR - 1) // SECTOR - first
