"""What two sides of a dual write differ in, with all that is known of it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from oracles.diagnosis import Finding
from oracles.stamps import SECTOR
from oracles.workload import Request


class Difference(enum.StrEnum):
    """What differs. The value is the word that reports use."""

    CONTENTS = "contents"
    ERROR = "error"
    LENGTH = "length"
    SIZE = "size"
    STATUS = "block status"


@dataclass(frozen=True)
class Mismatch:
    """One difference between the sides that no rule permits.

    ``side`` is to blame: ``target``, ``reference``, or ``both``. ``offset`` and ``length`` are in
    bytes. ``reference`` and ``target`` are up to 16 bytes of both sides, from the first difference
    on; for errors they are empty. ``finding`` has the diagnosis where contents differ.
    """

    difference: Difference
    side: str
    request: Request
    offset: int
    length: int
    text: str
    reference: bytes = b""
    target: bytes = b""
    finding: Finding | None = None

    @property
    def sector(self) -> int:
        """The first sector of 512 bytes that differs."""
        return self.offset // SECTOR

    @property
    def damage(self) -> str:
        """One word for what is wrong: that of `oracles.diagnosis.Damage`, or the difference."""
        return self.finding.damage.value if self.finding else self.difference.value

    @property
    def last_write(self) -> str:
        """The request that wrote there last, where one did."""
        return self.finding.last_write if self.finding else ""

    def __str__(self) -> str:
        head = f"{self.request}: {self.difference} of {self.side} at offset {self.offset}"
        lines = [f"{head} (sector {self.sector}), {self.length} bytes: {self.text}"]
        if self.reference or self.target:
            lines.append(f"    reference {self.reference.hex(' ', 4) or 'nothing'}")
            lines.append(f"    target    {self.target.hex(' ', 4) or 'nothing'}")
        if self.last_write:
            lines.append(f"    last write there: {self.last_write}")
        return "\n".join(lines)


def render(mismatches: Sequence[Mismatch], limit: int = 12) -> str:
    """Return the mismatches as text for people; beyond ``limit`` they are only counted."""
    lines = [str(mismatch) for mismatch in mismatches[:limit]]
    if len(mismatches) > limit:
        wrong = sum(mismatch.length for mismatch in mismatches)
        lines.append(f"... and {len(mismatches) - limit} more; {wrong} bytes in all")
    return "\n".join(lines)
