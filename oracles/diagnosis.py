"""The diagnosis of a wrong sector: the kind of damage, with the evidence.

The judgement compares what was seen with what was expected, sector by sector, and asks in this
order: is it zeroes, is it a whole stamp (whose, from where, how old), is it the right data moved by
some bytes, or with a few bits changed, is it half of one thing and half of another.
Neighbouring sectors with the same diagnosis become one finding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from oracles.damage import Confidence, Damage, Difference
from oracles.finding import SHOWN, Finding, Findings, render
from oracles.sector_damage import (
    Candidates,
    Finder,
    content_of,
    judge_strange,
    judge_unsound,
    version_of,
)
from oracles.stamps import (
    SECTOR,
    Bytes,
    Data,
    Header,
    Identity,
    as_array,
    header_of,
    owner_of,
    sector_words,
    sound,
)

__all__ = ["Damage", "Finding", "Findings", "diagnose", "render"]

_WEAK = (Damage.UNKNOWN, Damage.TORN, Damage.SHIFTED)
"""Kinds that a part of a stamp from elsewhere can look like, where they are only likely."""
_SEARCHED = 32
"""Sectors of one comparison whose strange contents are searched among all stamps of the volume."""
_EXAMINED = 512
"""Sectors without a whole stamp that one comparison examines byte by byte (about 1 ms each)."""


def diagnose(
    data: Data,
    offset: int,
    expected: Data,
    *,
    identity: Identity | None = None,
    candidates: Candidates | None = None,
    finder: Finder | None = None,
) -> Findings:
    """Compare what a read returned with what it must return, and name each damage.

    :param data: what was seen. Shorter than ``expected`` means truncated.
    :param offset: of both, in bytes from the start of the volume; any alignment.
    :param identity: the owner of the volume; by default, the owner of the expected stamps.
    :param candidates: for a sector number, headers of stamps that it held before, to name the parts
        of a torn sector by.
    :param finder: for the key of a fill, the header of the stamp, wherever it was written.
    """
    seen, wanted = as_array(data), as_array(expected)
    if len(seen) > len(wanted):
        raise ValueError(f"{len(seen)} bytes seen where {len(wanted)} were expected")
    findings = Findings(is_judged=len(wanted) > 0)
    if not np.array_equal(seen, wanted[: len(seen)]):
        comparison = _Comparison(seen, offset, wanted[: len(seen)], identity, candidates, finder)
        findings += comparison.findings()
    if len(seen) < len(wanted):
        end = offset + len(seen)
        missing = len(wanted) - len(seen)
        difference = Difference(end, wanted[len(seen) : len(seen) + SHOWN].tobytes(), b"")
        findings.append(Finding(Damage.TRUNCATED, end, missing, difference=difference))
    return findings


class _Comparison:
    """Two equally long byte ranges of one volume, laid out by sector."""

    def __init__(  # noqa: PLR0917  # the arguments of diagnose
        self,
        seen: Bytes,
        offset: int,
        wanted: Bytes,
        identity: Identity | None,
        candidates: Candidates | None,
        finder: Finder | None,
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
        self.finder = finder or (lambda _key: None)
        self.examined = 0
        self.searched = 0

    def findings(self) -> Iterable[Finding]:
        """Return the findings in the order of their offsets."""
        different = (self.seen != self.wanted).reshape(-1, SECTOR).any(axis=1)
        rows = np.flatnonzero(different)
        seen = sector_words(self.seen)[rows]
        wanted = sector_words(self.wanted)[rows]
        whole_seen, whole_wanted = sound(seen), sound(wanted)
        empty = (seen == 0).all(axis=1)
        named: list[tuple[int, Finding]] = []
        misplaced: dict[int, int] = {}
        for position, row in enumerate(int(row) for row in rows):
            expected = header_of(wanted[position]) if whole_wanted[position] else None
            if whole_seen[position]:
                header = header_of(seen[position])
                finding = self._judge_stamp(self.first + row, header, expected, row)
                if finding.damage is Damage.MISDIRECTED:
                    misplaced[self.first + row] = header.lba
            elif empty[position]:
                owed = version_of(expected) if expected else content_of(self._row(row)[1])
                zeroes = content_of(bytes(SECTOR))
                finding = Finding(Damage.ZEROED, expected=owed, seen=zeroes)
            else:
                finding = self._judge_bytes(row)
            named.append((row, finding))
        named = list(_mark_swaps(named, misplaced, self.first))
        return self._merge(_mark_found(named, self.first))

    def _row(self, row: int) -> tuple[bytes, bytes]:
        place = slice(row * SECTOR, (row + 1) * SECTOR)
        return self.seen[place].tobytes(), self.wanted[place].tobytes()

    def _judge_stamp(
        self, sector: int, header: Header, expected: Header | None, row: int
    ) -> Finding:
        owner = self.identity or (expected.identity if expected else header.identity)
        seen = version_of(header)
        wanted = version_of(expected) if expected else content_of(self._row(row)[1])
        if (header.run, header.volume) != (owner.run, owner.volume):
            wanted = replace(wanted, run=owner.run, volume=owner.volume)
            seen = replace(seen, text=owner_of(header.run, header.volume))
            return Finding(Damage.FOREIGN, expected=wanted, seen=seen)
        if header.lba != sector:
            moved = (sector - header.lba) * SECTOR
            return Finding(Damage.MISDIRECTED, expected=wanted, seen=seen, moved=moved)
        return Finding(_age(header, expected), expected=wanted, seen=seen)

    def _judge_bytes(self, row: int) -> Finding:
        self.examined += 1
        if self.examined > _EXAMINED:
            return Finding(Damage.UNKNOWN, count=_EXAMINED, confidence=Confidence.UNKNOWN)
        seen, wanted = self._row(row)
        sector = self.first + row
        low = max(self.start - sector * SECTOR, 0)
        high = min(self.end - sector * SECTOR, SECTOR)
        headers = list(self.candidates(sector))
        found = judge_unsound(seen[low:high], wanted[low:high], low, sector, headers)
        if found.confidence is Confidence.CERTAIN or self.searched >= _SEARCHED:
            return found
        self.searched += 1
        strange = judge_strange(seen[low:high], wanted[low:high], low, sector, self.finder)
        if strange is None or found.damage not in _WEAK:
            return found
        # A stamp that nobody recorded does not say by how much it is shifted.
        return found if strange.moved is None and found.damage is Damage.SHIFTED else strange

    def _merge(self, named: Iterable[tuple[int, Finding]]) -> Iterable[Finding]:
        """Give the sectors their places, and make one finding of neighbours that are alike."""
        last: Finding | None = None
        for row, one in named:
            offset = max((self.first + row) * SECTOR, self.start)
            end = min((self.first + row + 1) * SECTOR, self.end)
            found = self._placed(one, row, offset, end - offset)
            if (
                last
                and (last.damage, last.text) == (found.damage, found.text)
                and last.offset + last.length == offset
            ):
                last = replace(last, length=end - last.offset)
                continue
            if last:
                yield last
            last = found
        if last:
            yield last

    def _placed(self, finding: Finding, row: int, offset: int, length: int) -> Finding:
        seen, wanted = self._row(row)
        at = next(i for i in range(SECTOR) if seen[i] != wanted[i])
        stop = min(at + SHOWN, offset + length - (self.first + row) * SECTOR)
        first = (self.first + row) * SECTOR + at
        difference = Difference(first, wanted[at:stop], seen[at:stop])
        return replace(finding, offset=offset, length=length, difference=difference)


def _age(header: Header, expected: Header | None) -> Damage:
    """Name a stamp of the right place that is not the expected one."""
    if expected is not None and header.generation == expected.generation:
        return Damage.OTHER_WRITE
    if header.generation == 0:
        return Damage.NEVER_WRITTEN
    if expected is None or header.generation < expected.generation:
        return Damage.STALE
    return Damage.NEWER


def _mark_swaps(
    named: Iterable[tuple[int, Finding]], misplaced: dict[int, int], first: int
) -> Iterable[tuple[int, Finding]]:
    """Call two misdirected sectors that hold each other's data swapped."""
    for row, finding in named:
        home = misplaced.get(first + row)
        if home is not None and misplaced.get(home) == first + row:
            distance = (home - first - row) * SECTOR
            yield row, replace(finding, damage=Damage.SWAPPED, moved=distance)
        else:
            yield row, finding


def _mark_found(named: Iterable[tuple[int, Finding]], first: int) -> Iterable[tuple[int, Finding]]:
    """Say of missing data where in the same read it is instead."""
    named = list(named)
    elsewhere = {
        (one.seen, first + row - one.moved // SECTOR): first + row
        for row, one in named
        if one.damage in {Damage.MISDIRECTED, Damage.SHIFTED} and one.moved and one.seen
    }
    for row, finding in named:
        place = elsewhere.get((finding.expected, first + row))  # type: ignore[arg-type]
        is_missing = finding.damage not in {Damage.MISDIRECTED, Damage.SWAPPED}
        if place is not None and is_missing:
            evidence = f"what belongs to sector {first + row} is found at sector {place} instead"
            yield row, replace(finding, evidence=(*finding.evidence, evidence))
        else:
            yield row, finding
