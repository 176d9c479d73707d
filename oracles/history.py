"""The history of one volume: which request touched which bytes, in order, and what it stamped."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from oracles.contrast import Checked, beside_discards, with_right_writes
from oracles.damage import Operation
from oracles.finding import Finding, Findings
from oracles.flush_story import with_flush
from oracles.life import Answer, Moment, each_once, left_out, life_of
from oracles.raw_writes import RawWrites
from oracles.recorded import MOST, Recorded
from oracles.stamps import SECTOR, Bytes, Header, Identity, keys_of, stamp
from oracles.suspects import suspects

_MOMENTS = 50_000
"""Moments that are kept: those of the last operations."""
_TELLING = 64
"""First bytes that, with the place, tell the data of one write from that of another."""
_CHECKS = 1000
"""Checks that are kept: the last ones."""
_NEAR = 64 << 10
"""Bytes: a unit in which `History.nearby` finds requests. Caches and maps have such units."""
_RELATED = ("write", "zero", "discard")
_RELATIVES = 100
"""Changes in relatives that a finding has: the last ones."""
_ANSWERS = 200
"""Block states that are kept with their extents: the last ones."""
_PATTERN = re.compile(r"write of pattern 0x([0-9a-f]{2})")
"""The text of an operation that filled a range with one byte."""
_SEARCHED = 1 << 20
"""Sectors of which `History.stamp_with` compares the keys; this takes 50 ms."""


class History:
    """Operations in the order in which they were known to end. Iterate over it for the entries.

    :ivar size: of the volume, in bytes.
    :ivar lane: the connection or program of the operations to come, for the life of a sector.
    :ivar volume: its name, or what it is: ``snapshot s1 of disk``; empty if that is not known.
    :ivar raw: the data of the newest writes that are not stamps of their place.
    :ivar relatives: returns the histories of disks that may share data; None: there are none.
    :ivar clock: returns the seconds since the case began; None: the life has no times.
    :ivar faults: return the faults that fired, as moments with the times of that clock.
    """

    def __init__(self, identity: Identity, size: int = 0) -> None:
        self.size = size
        self.lane = ""
        self.volume = ""
        self.raw = RawWrites()
        self.relatives: Callable[[], list[History]] | None = None
        self._lanes: dict[str, int] = {}
        self.clock: Callable[[], float] | None = None
        self.faults: list[Callable[[], list[Moment]]] = []
        self._moments: deque[Moment] = deque(maxlen=_MOMENTS)
        self._answers: deque[tuple[int, Answer]] = deque(maxlen=_ANSWERS)
        self._noted = 0
        self._identity = identity
        self._entries: list[Operation] = []
        self._checks: deque[Checked] = deque(maxlen=_CHECKS)
        self._last_number = 0
        self._generation = 0
        self._stamped: dict[int, tuple[int, int]] = {}
        self._unaligned: dict[tuple[int, int, bytes], int] = {}
        self._places: dict[int, tuple[int, int]] = {}

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """The moments that are kept, in order."""
        return tuple(self._moments)

    def copy(self, identity: Identity) -> History:
        """Return an independent copy that continues for that identity."""
        other = History(identity, self.size)
        other._entries = list(self._entries)
        other._checks = self._checks.copy()
        other._last_number = self._last_number
        other._generation = self._generation
        other._stamped = dict(self._stamped)
        other.clock = self.clock
        other._moments = self._moments.copy()
        other._answers = self._answers.copy()
        other._noted = self._noted
        other._places = dict(self._places)
        other._lanes = dict(self._lanes)
        other._unaligned = dict(self._unaligned)
        other.raw = self.raw.copy()
        return other

    def __deepcopy__(self, _memo: dict[int, object]) -> History:
        """Return an independent copy; it shares the clock and the sources of faults."""
        other = self.copy(self._identity)
        other.lane, other.faults = self.lane, list(self.faults)
        other.volume = self.volume
        return other

    def next_number(self) -> int:
        """Return the number of the next operation: 1, 2, 3, ..."""
        self._last_number += 1
        return self._last_number

    def next_generation(self, number: int, writer: int, offset: int = 0, length: int = 0) -> int:
        """Return the generation, from 1, of the stamps that an operation will write.

        :param offset: in bytes, as is ``length``: where it will write them; 0 if not known.
        """
        self._generation += 1
        self._stamped[number] = (self._generation, writer)
        self._places[number] = (offset, length)
        return self._generation

    def known(self, number: int | None) -> int | None:
        """Return the number if an operation of this history wrote stamps with it, else None."""
        return number if number in self._stamped else None

    def stamped(self, offset: int, data: bytes, number: int) -> None:
        """Remember the number of stamped data: an unaligned write does not show it in its data."""
        if offset % SECTOR or len(data) < SECTOR:
            self._unaligned[offset, len(data), data[:_TELLING]] = number

    def number_of(self, offset: int, data: Bytes) -> int | None:
        """Return, once, the number of unaligned data that was stamped; None for other data."""
        if not self._unaligned:
            return None
        return self._unaligned.pop((offset, len(data), data[:_TELLING].tobytes()), None)

    def prefilled(self, offset: int, length: int) -> None:
        """Record stamps of generation 0."""
        entry = Operation(0, offset, length, "prefill", 0, self._identity.writer)
        self._entries.append(entry)
        self.note("prefill", offset, length, generation=0)

    def note(
        self,
        kind: str,
        offset: int = 0,
        length: int = 0,
        *,
        number: int = 0,
        generation: int | None = None,
        fua: bool = False,
        is_certain: bool = True,
        text: str = "",
    ) -> None:
        """Add a moment to the life of the volume; see `Moment` for the fields."""
        if kind in ("cut", "restart"):
            self._checks.clear()  # what was right before it may be lost now
        self.size = length if kind == "resize" else self.size
        at_s = round(self.clock(), 6) if self.clock else None
        lane = "" if kind in ("prefill", "durable", "cut", "restart", "snapshot") else self.lane
        self._noted += 1
        self._moments.append(
            Moment(
                kind=kind,
                number=number,
                offset=offset,
                length=length,
                at_s=at_s,
                lane=lane,
                generation=generation,
                fua=fua,
                is_certain=is_certain,
                text=text,
            )
        )

    def answered(
        self,
        offset: int,
        length: int,
        states: Sequence[tuple[str, int, int, str]],
        lane: str = "",
    ) -> None:
        """Record the answer to a question for the block status; see `Answer` for its states."""
        at_s = round(self.clock(), 6) if self.clock else None
        answer = Answer("status", 0, offset, length, at_s, lane, states=tuple(states))
        self._answers.append((self._noted, answer))

    def was_right(self, offset: int, length: int) -> None:
        """Record that a check of a range found nothing wrong."""
        self._checks.append((len(self._entries), offset, length))

    def contrasted(
        self, findings: Findings, offset: int, length: int, unsure: Sequence[int]
    ) -> Findings:
        """Return what a check of a range found, with the writes of the volume that are right.

        :param unsure: sectors of the range that may have several contents.
        """
        failed = len(self._entries), offset, length
        found = beside_discards(findings, self._entries)
        found = with_right_writes(found, self._entries, self._checks, failed, unsure)
        found = with_flush(found, list(self._moments))
        return Findings(found, is_judged=findings.is_judged, about=findings.about)

    def new_lane(self, program: str) -> str:
        """Return a name for the next connection of a program: ``NBD connection 2``."""
        self._lanes[program] = self._lanes.get(program, 0) + 1
        return f"{program} {self._lanes[program]}"

    def life(self, *places: tuple[int, int]) -> tuple[Moment, ...]:
        """Return the last moments that concern ranges (offset, length), and faults that fired."""
        return life_of(self._with_faults(places), places)

    def left_out(self, *places: tuple[int, int]) -> int:
        """Return how many moments that concern ranges (offset, length) `life` leaves out."""
        return left_out(self._with_faults(places), places)

    def _with_faults(self, places: Sequence[tuple[int, int]]) -> list[Moment]:
        """Return the moments, the answers about ranges, and the faults that fired, in order."""
        fired = [
            replace(one, at_s=None if one.at_s is None else round(one.at_s, 6))
            for source in self.faults
            for one in source()
        ]
        moments = self._with_answers(places)
        return sorted([*moments, *fired], key=lambda one: one.at_s or 0.0) if fired else moments

    def with_life(self, finding: Finding, places: Sequence[tuple[int, int]]) -> Finding:
        """Return a finding with what happened to its place, beside it, and in relatives."""
        found = replace(
            finding,
            life=self.life(*places),
            record=self.recorded(),
            nearby=self.nearby(finding.offset, finding.length),
        )
        place = finding.offset, min(finding.length, SECTOR)
        if line := suspects(self.moments, *place):
            found = replace(found, evidence=(*found.evidence, line))
        return self.with_relatives(found, place, self.left_out(*places))

    def with_relatives(self, finding: Finding, place: tuple[int, int], left_out: int) -> Finding:
        """Return a finding with the changes of a place in volumes that may share data.

        :param left_out: how many moments its life leaves out.
        """
        found = self._of_relatives(*place)
        left_out += len(found[:-_RELATIVES])
        return replace(finding, relatives=found[-_RELATIVES:], not_listed=left_out)

    def others(self) -> list[History]:
        """Return the histories of the volumes that may share data; it may be one of them."""
        return [] if self.relatives is None else self.relatives()

    def recorded(self) -> Recorded:
        """Return the last requests to the volume."""
        return Recorded(self.size, tuple(self._moments)[-MOST:])

    def _of_relatives(self, offset: int, length: int) -> tuple[Moment, ...]:
        """Return the changes of a range in other volumes that may share data with it, in order.

        What a volume has inherited is a part of its own life.
        """
        known = {id(one) for one in self._moments}
        found: dict[int, Moment] = {}
        for other in self.others():
            there = [one for one in other.moments
                     if one.kind in _RELATED and one.touches(offset, length)]  # fmt: skip
            for one in each_once(there):
                if id(one) not in known:
                    found.setdefault(id(one), replace(one, lane=other.volume))
        return tuple(sorted(found.values(), key=lambda one: one.at_s or 0.0))

    def _with_answers(self, places: Sequence[tuple[int, int]]) -> list[Moment]:
        """Return the moments, and what the block status said of ranges, in their order."""
        moments = list(self._moments)
        first = self._noted - len(moments)
        for noted, answer in reversed(self._answers):
            if noted >= first and any(answer.touches(*place) for place in places):
                moments.insert(noted - first, answer.said_of(places))
        return moments

    def record(
        self,
        text: str,
        offset: int,
        length: int,
        number: int | None = None,
        *,
        kind: str = "write",
        fua: bool = False,
        is_certain: bool = True,
    ) -> Operation:
        """Record an operation, and return it; without a number it gets the next one.

        :param kind: of the moment, as are the rest.
        """
        if number is None:
            number = self.next_number()
        self._last_number = max(self._last_number, number)
        generation, writer = self._stamped.get(number, (None, 0))
        entry = Operation(number, offset, length, text, generation, writer)
        self._entries.append(entry)
        self.note(
            kind,
            offset,
            length,
            number=number,
            generation=generation,
            fua=fua,
            is_certain=is_certain,
            text=text,
        )
        return entry

    def last_writes(self, offset: int, length: int, count: int = 1) -> tuple[Operation, ...]:
        """Return up to ``count`` operations that touched a range, the last one first."""
        touching = (entry for entry in reversed(self._entries) if entry.touches(offset, length))
        return tuple(islice(touching, count))

    def nearby(self, offset: int, length: int, count: int = 3) -> tuple[Operation, ...]:
        """Return requests beside a range that came after the last one that touched it.

        The nearest come first. They are in a unit of 64 KiB that the range is in, too.
        """
        units = offset // _NEAR, (offset + length - 1) // _NEAR
        found: dict[int, tuple[int, Operation]] = {}
        for at, entry in enumerate(reversed(self._entries)):
            if entry.touches(offset, length):
                break
            away = max(entry.offset - offset - length, offset - entry.offset - entry.length)
            is_near = (
                entry.offset // _NEAR <= units[1] and units[0] * _NEAR < entry.offset + entry.length
            )
            if is_near and entry.length:
                found[at] = away, entry
        nearest = sorted(found.items(), key=lambda item: (item[1][0], item[0]))[:count]
        return tuple(entry for _, (_, entry) in nearest)

    def stamp_with(self, key: int) -> Header | None:
        """Return the header of the stamp whose fill has a key; None if none was written.

        Only the newest writes are searched, up to a million sectors.
        """
        left = _SEARCHED
        for number, offset, length, generation, writer in self._all_stamped():
            first = offset // SECTOR
            count = (offset + length - 1) // SECTOR + 1 - first
            left -= count
            if left < 0:
                return None
            identity = Identity(self._identity.run, self._identity.volume, writer)
            keys = keys_of(identity, first, count, generation, number)
            places = np.flatnonzero(keys == np.uint64(key))
            if len(places):
                lba = first + int(places[0])
                return Header(identity.run, identity.volume, lba, generation, writer, number)
        return None

    def _all_stamped(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Give number, offset, length, generation and writer of all that was stamped."""
        for number in reversed(self._places):
            offset, length = self._places[number]
            if length:
                yield number, offset, length, *self._stamped[number]
        for entry in self._entries:
            if entry.generation == 0 and entry.length:
                yield entry.number, entry.offset, entry.length, 0, entry.writer

    def data_of(self, change: Operation, start: int, length: int) -> bytes | None:
        """Return what an operation put at ``[start, start + length)``; None if it is not kept.

        :param start: in bytes from the start of the volume, as is ``length``; inside the operation.
        """
        if change.generation is not None:
            who = Identity(self._identity.run, self._identity.volume, change.writer)
            return stamp(start, length, who, change.generation, change.number).tobytes()
        if change.text.startswith(("write zeroes", "discard")):
            return bytes(length)
        if filled := _PATTERN.match(change.text):
            return bytes([int(filled[1], 16)]) * length
        return self.raw.data_of(change, start, length)

    def stamps_of(self, sector: int) -> list[Header]:
        """Return the headers of all stamps that were written to a sector, newest first."""
        run, volume = self._identity.run, self._identity.volume
        return [
            Header(run, volume, sector, entry.generation, entry.writer, entry.number)
            for entry in reversed(self._entries)
            if entry.generation is not None and entry.touches(sector * SECTOR, SECTOR)
        ]
