"""The differences between the two sides of a dual write, with their evidence."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oracles.damage import Damage
from oracles.finding import Finding, Findings
from oracles.workload import Request


class Difference(enum.StrEnum):
    """Kinds of differences. Reports use the values."""

    CONTENTS = "contents"
    ERROR = "error"
    LENGTH = "length"
    SIZE = "size"
    STATUS = "block status"


_DIFFERENCES = {
    Damage.ERROR: Difference.ERROR,
    Damage.LENGTH: Difference.LENGTH,
    Damage.SIZE: Difference.SIZE,
    Damage.STATUS: Difference.STATUS,
}


@dataclass(frozen=True)
class Mismatch:
    """One difference between the sides that no rule permits.

    ``finding`` says what is wrong, where, and which side is to blame: ``target``, ``reference`` or
    ``both``. ``reference`` and ``target`` are up to 16 bytes of both sides, from the first
    difference on; for errors they are empty.
    """

    request: Request
    finding: Finding
    reference: bytes = b""
    target: bytes = b""

    @property
    def difference(self) -> Difference:
        """What differs."""
        return _DIFFERENCES.get(self.finding.damage, Difference.CONTENTS)

    @property
    def side(self) -> str:
        """The side to blame."""
        return self.finding.side

    @property
    def offset(self) -> int:
        """The first byte concerned."""
        return self.finding.offset

    @property
    def length(self) -> int:
        """Bytes concerned."""
        return self.finding.length

    @property
    def text(self) -> str:
        """What is wrong, in words."""
        return self.finding.text

    @property
    def sector(self) -> int:
        """The first sector of 512 bytes that differs."""
        return self.finding.sector

    @property
    def damage(self) -> str:
        """The word of `oracles.finding.Damage` for what is wrong."""
        return self.finding.damage.value

    @property
    def last_write(self) -> str:
        """The request that wrote there last, where one did."""
        return self.finding.last_write

    def __str__(self) -> str:
        lines = [self.finding.line]
        if self.reference or self.target:
            lines.append(f"    reference {self.reference.hex(' ', 4) or 'nothing'}")
            lines.append(f"    target    {self.target.hex(' ', 4) or 'nothing'}")
        if self.last_write:
            lines.append(f"    last write there: {self.last_write}")
        lines += [f"    {one}" for one in self.finding.evidence if one.startswith("read again")]
        return "\n".join(lines)


def findings_of(mismatches: Iterable[Mismatch]) -> Findings:
    """Return what is wrong in each of them."""
    return Findings(mismatch.finding for mismatch in mismatches)


def render(mismatches: Sequence[Mismatch], limit: int = 12) -> str:
    """Return the mismatches as text for people; beyond ``limit`` they are only counted."""
    lines = [str(mismatch) for mismatch in mismatches[:limit]]
    if len(mismatches) > limit:
        wrong = sum(mismatch.length for mismatch in mismatches)
        lines.append(f"... and {len(mismatches) - limit} more; {wrong} bytes in all")
    return "\n".join(lines)
