"""What is wrong with a sector: a name for each kind of damage, with the evidence.

The judgement compares what was seen with what was expected, sector by sector, and asks in this
order: is it zeroes, is it a whole stamp (whose, from where, how old), is it the right data moved by
some bytes, or with a few bits changed, is it half of one thing and half of another.
Neighbouring sectors with the same diagnosis become one finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oracles.sector_damage import Candidates, Damage, describe_bytes, judge_unsound, named
from oracles.stamps import (
    SECTOR,
    Bytes,
    Data,
    Header,
    Identity,
    as_array,
    header_of,
    sector_words,
    sound,
)

__all__ = ["Damage", "Finding", "diagnose", "render"]

_LOOKED_AT = 512
"""Sectors without a whole stamp that one comparison looks at byte by byte (about 1 ms each)."""
_SHOWN = 16
"""Bytes of expected and seen data that a finding shows."""


@dataclass(frozen=True)
class Finding:
    """One run of sectors that hold what they must not.

    ``offset`` and ``length`` are in bytes of the volume. ``first_difference`` is the offset of the
    first wrong byte; ``expected`` and ``seen`` are up to 16 bytes from there on. ``last_write``
    says which request touched the place last, where a history is at hand.
    """

    offset: int
    length: int
    damage: Damage
    text: str
    first_difference: int
    expected: bytes
    seen: bytes
    last_write: str = ""

    @property
    def sectors(self) -> int:
        """The number of sectors that the finding covers, at least in part."""
        return (self.offset + self.length + SECTOR - 1) // SECTOR - self.offset // SECTOR

    def __str__(self) -> str:
        first = self.offset // SECTOR
        last = first + self.sectors - 1
        place = f"sectors {first}-{last}" if last > first else f"sector {first}"
        lines = [
            f"offset {self.offset} (0x{self.offset:x}), {place}, {self.length} bytes: {self.text}"
        ]
        expected = self.expected.hex(" ", 4) or "nothing"
        seen = self.seen.hex(" ", 4) or "nothing"
        at = self.first_difference
        lines.append(f"    first difference at byte {at}: expected {expected}, seen {seen}")
        if self.last_write:
            lines.append(f"    last write there: {self.last_write}")
        return "\n".join(lines)


def render(findings: Sequence[Finding], limit: int = 12) -> str:
    """Return the findings as text for people; beyond ``limit`` they are only counted."""
    lines = [str(finding) for finding in findings[:limit]]
    if len(findings) > limit:
        wrong = sum(finding.length for finding in findings)
        lines.append(f"... and {len(findings) - limit} more; {wrong} wrong bytes in all")
    return "\n".join(lines)


def diagnose(
    data: Data,
    offset: int,
    expected: Data,
    *,
    identity: Identity | None = None,
    candidates: Candidates | None = None,
) -> list[Finding]:
    """Compare what a read returned with what it must return, and name each damage.

    :param data: what was seen. Shorter than ``expected`` means truncated.
    :param offset: of both, in bytes from the start of the volume; any alignment.
    :param identity: whose volume it is; by default, whoever stamped the expected data.
    :param candidates: for a sector number, headers of stamps that it held before, to name the parts
        of a torn sector by.
    """
    seen, wanted = as_array(data), as_array(expected)
    if len(seen) > len(wanted):
        raise ValueError(f"{len(seen)} bytes seen where {len(wanted)} were expected")
    findings = []
    if not np.array_equal(seen, wanted[: len(seen)]):
        comparison = _Comparison(seen, offset, wanted[: len(seen)], identity, candidates)
        findings = list(comparison.findings())
    if len(seen) < len(wanted):
        end = offset + len(seen)
        missing = len(wanted) - len(seen)
        wanted_there = wanted[len(seen) : len(seen) + _SHOWN].tobytes()
        text = f"truncated ({missing} bytes missing)"
        findings.append(Finding(end, missing, Damage.TRUNCATED, text, end, wanted_there, b""))
    return findings


class _Comparison:
    """Two equally long byte ranges of one volume, laid out by sector."""

    def __init__(
        self,
        seen: Bytes,
        offset: int,
        wanted: Bytes,
        identity: Identity | None,
        candidates: Candidates | None,
    ) -> None:
        self.first = offset // SECTOR
        self.start = offset
        self.end = offset + len(seen)
        before = offset % SECTOR
        after = -self.end % SECTOR
        # Bytes outside of the range are zero on both sides: they never count as a difference.
        self.seen = np.pad(seen, (before, after)) if before or after else seen
        self.wanted = np.pad(wanted, (before, after)) if before or after else wanted
        self.identity = identity
        self.candidates = candidates or (lambda _sector: ())
        self.looked_at = 0

    def findings(self) -> Iterable[Finding]:
        """Return the findings in the order of their offsets."""
        different = (self.seen != self.wanted).reshape(-1, SECTOR).any(axis=1)
        rows = np.flatnonzero(different)
        seen = sector_words(self.seen)[rows]
        wanted = sector_words(self.wanted)[rows]
        whole_seen, whole_wanted = sound(seen), sound(wanted)
        empty = (seen == 0).all(axis=1)
        verdicts: list[tuple[int, Damage, str]] = []
        misplaced: dict[int, int] = {}
        for position, row in enumerate(int(row) for row in rows):
            expected = header_of(wanted[position]) if whole_wanted[position] else None
            if whole_seen[position]:
                header = header_of(seen[position])
                damage, text = self._judge_stamp(self.first + row, header, expected, row)
                if damage is Damage.MISDIRECTED:
                    misplaced[self.first + row] = header.lba
            elif empty[position]:
                owed = named(expected) if expected else describe_bytes(self._row(row)[1])
                damage, text = Damage.ZEROED, f"zeroed, expected {owed}"
            else:
                damage, text = self._judge_bytes(row)
            verdicts.append((row, damage, text))
        return self._merge(_mark_swaps(verdicts, misplaced, self.first))

    def _row(self, row: int) -> tuple[bytes, bytes]:
        place = slice(row * SECTOR, (row + 1) * SECTOR)
        return self.seen[place].tobytes(), self.wanted[place].tobytes()

    def _judge_stamp(
        self, sector: int, header: Header, expected: Header | None, row: int
    ) -> tuple[Damage, str]:
        owner = self.identity or (expected.identity if expected else header.identity)
        if (header.run, header.volume) != (owner.run, owner.volume):
            what = "volume" if header.run == owner.run else "run"
            return Damage.FOREIGN, (
                f"foreign {what} (run {header.run:#x}, volume {header.volume:#x},"
                f" its write #{header.operation})"
            )
        if header.lba != sector:
            return Damage.MISDIRECTED, _misdirected(sector - header.lba, header)
        if expected is None:
            wanted = describe_bytes(self._row(row)[1])
            if header.generation == 0:
                text = f"never written: prefill still there, expected {wanted}"
                return Damage.NEVER_WRITTEN, text
            return Damage.STALE, f"stale (write #{header.operation} still there, expected {wanted})"
        return _judge_age(header, expected)

    def _judge_bytes(self, row: int) -> tuple[Damage, str]:
        self.looked_at += 1
        if self.looked_at > _LOOKED_AT:
            return Damage.UNKNOWN, f"wrong; not looked at closely, after {_LOOKED_AT} others"
        seen, wanted = self._row(row)
        sector = self.first + row
        low = max(self.start - sector * SECTOR, 0)
        high = min(self.end - sector * SECTOR, SECTOR)
        headers = list(self.candidates(sector))
        return judge_unsound(seen[low:high], wanted[low:high], low, sector, headers)

    def _merge(self, verdicts: Iterable[tuple[int, Damage, str]]) -> Iterable[Finding]:
        finding: Finding | None = None
        for row, damage, text in verdicts:
            offset = max((self.first + row) * SECTOR, self.start)
            end = min((self.first + row + 1) * SECTOR, self.end)
            if (
                finding
                and (finding.damage, finding.text) == (damage, text)
                and finding.offset + finding.length == offset
            ):
                finding = replace(finding, length=end - finding.offset)
                continue
            if finding:
                yield finding
            finding = self._finding(row, offset, end - offset, damage, text)
        if finding:
            yield finding

    def _finding(self, row: int, offset: int, length: int, damage: Damage, text: str) -> Finding:
        seen, wanted = self._row(row)
        at = next(i for i in range(SECTOR) if seen[i] != wanted[i])
        stop = min(at + _SHOWN, offset + length - (self.first + row) * SECTOR)
        first = (self.first + row) * SECTOR + at
        return Finding(offset, length, damage, text, first, wanted[at:stop], seen[at:stop])


def _judge_age(header: Header, expected: Header) -> tuple[Damage, str]:
    if header.generation == expected.generation:
        text = f"other write (#{header.operation} by writer {header.writer}, expected"
        return Damage.OTHER_WRITE, f"{text} #{expected.operation} by writer {expected.writer})"
    if header.generation == 0:
        return Damage.NEVER_WRITTEN, (
            f"never written: prefill still there, expected generation {expected.generation}"
            f" by write #{expected.operation}"
        )
    older = header.generation < expected.generation
    return (Damage.STALE if older else Damage.NEWER), (
        f"{'stale' if older else 'newer'} (generation {header.generation} by write"
        f" #{header.operation}, expected {expected.generation} by write #{expected.operation})"
    )


_WRAPS = {31: "2 GiB", 32: "4 GiB", 40: "1 TiB", 41: "2 TiB", 44: "16 TiB"}


def _misdirected(moved: int, header: Header) -> str:
    hint = ""
    by = f"write #{header.operation}" if header.generation else "the prefill"
    for bits, size in _WRAPS.items():
        if abs(moved) * SECTOR == 1 << bits:
            hint = f": {size} too {'high' if moved > 0 else 'low'}"
    return f"misdirected ({moved:+d} sectors{hint}, by {by})"


def _mark_swaps(
    verdicts: Iterable[tuple[int, Damage, str]], misplaced: dict[int, int], first: int
) -> Iterable[tuple[int, Damage, str]]:
    """Call two misdirected sectors that hold each other's data swapped."""
    for row, damage, text in verdicts:
        home = misplaced.get(first + row)
        if home is not None and misplaced.get(home) == first + row:
            yield row, Damage.SWAPPED, f"swapped with the sector {home - first - row:+d} away"
        else:
            yield row, damage, text
