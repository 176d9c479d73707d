"""``action: torn``: only some sectors of a write are stored.

    - {event: write_aio, action: torn, keep: first-sectors, sectors: 3}
    - {event: write_aio, action: torn, keep: some-sectors, errno: EIO}

``keep``: the sectors that are stored: ``first-sectors`` (the default), ``last-sectors``,
``even-sectors`` (the first, the third, ...), or ``some-sectors``, drawn from the seed: at least one
sector is stored, and at least one is not.
``sectors``: number of first or last sectors that are stored; drawn from the seed by default.
``errno``: the write then fails with this errno; 0 (the default) acknowledges it.

A sector has 512 bytes and is never torn itself. A write within one sector is not damaged.
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
    """Store some sectors of a write."""

    action: ClassVar[str] = "torn"
    hurts: ClassVar[frozenset[IoType]] = frozenset({IoType.WRITE})
    keep: Literal["first-sectors", "last-sectors", "even-sectors", "some-sectors"] = "first-sectors"
    sectors: int | None = None
    errno: Errno = NO_ERROR

    def __post_init__(self) -> None:
        counted = self.keep in {"first-sectors", "last-sectors"}
        if self.sectors is not None and not (counted and self.sectors >= 1):
            raise ValueError(
                "sectors must be at least 1, and requires keep: first-sectors or last-sectors"
            )

    def describe(self) -> str:
        """Describe the fault."""
        count = "" if self.sectors is None else f" ({self.sectors})"
        stored = f"is stored only in its {self.keep.replace('-', ' ')}{count}"
        return stored + (failing(self.errno) or ", and is acknowledged")

    def applies(self, request: Request, memory: Any) -> bool:
        """Return whether the write has more sectors than are kept."""
        del memory
        return _sectors(request) > (self.sectors or 1)

    def inject(self, call: Call) -> Reply:
        """Store the sectors to keep, each contiguous run as one write."""
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
