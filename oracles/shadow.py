"""The shadow disk: what every byte of a volume must be, or may be.

After an acknowledged write there is one right answer. After an error, a time-out, a lost connection
or a power cut there are two for each sector, old and new, and never a third. After a discard a
sector has the old data or zeroes. The shadow keeps these sets exactly. It checks whether the data
of a read is permitted, and if not, what is wrong with it.

Durability: writes that were acknowledged since the last completed flush, without FUA, are pending.
A power cut may keep any subset of them, sector by sector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from oracles.contents import CHUNK, Change, Chunk, Contents, is_one_of, nearest
from oracles.contrast import in_zeroes
from oracles.damage import Damage, Difference
from oracles.diagnosis import diagnose
from oracles.finding import Finding, Findings, telling
from oracles.history import History
from oracles.life import IN_FLIGHT
from oracles.lost_part import as_lost_write, place_of_part, with_writes_of_part
from oracles.promises import DISCARD, FAILED_WRITE
from oracles.replay import explained
from oracles.sector_damage import of_unwritten
from oracles.stamps import (
    SECTOR,
    Bytes,
    Data,
    Identity,
    as_array,
    operation_of,
    place_of_stamp,
    stamp,
)
from oracles.unknown_bytes import UnknownBytes

LARGEST = (1 << 63) - 1
"""The largest volume in bytes: offsets are signed 64-bit numbers in QEMU (BDRV_MAX_LENGTH)."""
_PREFILL_STEP = 4 << 20
_LAST_WRITES = 3
"""Requests that a finding names as those that touched the place last."""
_LIVES = 3
"""Findings of a check that carry the life of their first sector."""
_EXPLAINED = 20
"""Findings of a check for which the history of their first sector is replayed."""
_SEARCHED = 20
"""Findings of a check whose lost stamps are looked for elsewhere."""
MISSED = frozenset({Damage.ZEROED, Damage.STALE, Damage.NEVER_WRITTEN, Damage.OTHER_WRITE})
"""Kinds of damage that mean that a whole stamp is not where it belongs."""


class Ambiguous(ValueError):  # noqa: N818  # a state of the expected contents
    """The requested bytes have more than one right value; ``sector`` is the first ambiguous one."""

    def __init__(self, sector: int) -> None:
        super().__init__(f"sector {sector} may hold more than one content")
        self.sector = sector


class Unpromised(ValueError):  # noqa: N818  # a state of the expected contents
    """Nothing is promised about a requested byte, because a policy is waived."""


class NotPermitted(ValueError):  # noqa: N818
    """Data that was to be settled is not permitted; ``findings`` say where."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = Findings(findings)


class Shadow:
    """The expectation of one volume. Offsets, lengths and sizes are in bytes, at any alignment.

    A new shadow expects zeroes everywhere. A range beyond the end raises ValueError: the case must
    judge what a target does with such a request.

    :param size: 0 to 2^63-1; the memory depends on what is written, not on the size.
    :param identity: run and volume, for the stamps.
    :param waived: policies (`oracles.promises`) that do not hold; what they demand is not judged.
    """

    def __init__(
        self, size: int, identity: Identity | None = None, waived: frozenset[str] = frozenset()
    ) -> None:
        if not 0 <= size <= LARGEST:
            raise ValueError(f"size {size} is not within 0 to 2^63-1")
        self.size = size
        self.waived = waived
        self.identity = identity or Identity(0, 0)
        self.history = History(self.identity, size)
        self._now = Contents()
        self._durable: dict[int, Chunk | None] = {}
        self._pending: list[tuple[Change, ...]] = []
        self._unknown = UnknownBytes()

    def copy(self, writer: int | None = None) -> Shadow:
        """Return an independent shadow with the same expectation, for a snapshot or a clone.

        Pending writes are pending in the copy too: a snapshot does not make them durable.

        :param writer: the writer of the copy, 0 to 2^32-1, which makes its stamps different from
            later ones of the original; by default the writer of the original.
        """
        who = self.identity if writer is None else replace(self.identity, writer=writer)
        other = Shadow(self.size, who, self.waived)
        other.history = self.history.copy(who)
        other._now = self._now.copy()
        other._durable = {
            number: chunk.copy() if chunk else None for number, chunk in self._durable.items()
        }
        other._pending = list(self._pending)
        other._unknown = self._unknown.copy()
        return other

    # Data to write

    def next_operation(self) -> int:
        """Return the number of the next request: 1, 2, 3, ..."""
        return self.history.next_number()

    def stamped(
        self, offset: int, length: int, operation: int | None = None, writer: int | None = None
    ) -> bytes:
        """Return new stamped data for a write of this range; call ``write`` when the write is done.

        ``write`` finds the number of the operation by the data, if it is written where it belongs.
        """
        number = self.next_operation() if operation is None else operation
        who = self.identity if writer is None else replace(self.identity, writer=writer)
        generation = self.history.next_generation(number, who.writer, offset, length)
        data = stamp(offset, length, who, generation, number).tobytes()
        if operation is None:
            self.history.stamped(offset, data, number)
        return data

    def prefill(self, offset: int = 0, length: int | None = None) -> Bytes:
        """Expect stamps of generation 0 in a range, durably; return them, to be written there.

        The range must fit into memory twice; prefill a larger volume in parts.
        """
        length = self.size - offset if length is None else length
        self._within(offset, length)
        data = np.empty(length, dtype=np.uint8)
        for start in range(0, length, _PREFILL_STEP):
            part = min(_PREFILL_STEP, length - start)
            data[start : start + part] = stamp(offset + start, part, self.identity)
        self._all_durable()
        self._now.apply(Change(offset, length, data))
        self._unknown.remove(offset, offset + length, durable=True)
        self.history.prefilled(offset, length)
        return data

    # Events

    def write(
        self, offset: int, data: Data, *, fua: bool = False, operation: int | None = None
    ) -> None:
        """Record an acknowledged write. The data is not copied: do not change it afterwards."""
        self._change("write", self._written(offset, data, fua=fua), operation)

    def maybe_write(self, offset: int, data: Data, *, operation: int | None = None) -> None:
        """Record a write that failed, timed out or was cut off: each sector is old or new."""
        self._change("write (outcome unknown)", self._written(offset, data, maybe=True), operation)

    def pattern(
        self, offset: int, length: int, byte: int, *, fua: bool = False, maybe: bool = False
    ) -> None:
        """Record that a range was filled with one byte, as ``qemu-io write -P`` does."""
        change = Change(offset, length, None, byte, maybe, fua)
        self._change(f"write of pattern 0x{byte:02x}", change)

    def zero(
        self,
        offset: int,
        length: int,
        *,
        fua: bool = False,
        maybe: bool = False,
        operation: int | None = None,
    ) -> None:
        """Record an acknowledged write of zeroes (``maybe``: its outcome is unknown)."""
        self._change("write zeroes", Change(offset, length, None, 0, maybe, fua), operation)

    def discard(
        self, offset: int, length: int, *, reads_zero: bool = False, operation: int | None = None
    ) -> None:
        """Record a discard: each sector is old or zero, or zero if the target promises that."""
        self._change("discard", Change(offset, length, None, 0, not reads_zero), operation)

    def concurrent(self, writes: Sequence[tuple[int, Data]]) -> None:
        """Record acknowledged writes in flight together: where they overlap, any may win."""
        self.in_flight([("write", self._written(*write), None) for write in writes])

    def in_flight(self, requests: Sequence[tuple[str, Change, int | None]]) -> None:
        """Record requests that were in flight together: where they overlap, any may be the last.

        :param requests: a word for the history, the change, and the number of each; changes that
            are ``maybe`` (discards, failed writes) may not have happened at all.
        """
        for text, change, operation in requests:
            self._record(f"{text}{IN_FLIGHT}", change, operation)
        for text, change, _ in sorted(requests, key=lambda request: request[1].maybe):
            self._note_unknown(text, change)
        changes = tuple(change for _, change, _ in requests)
        self._save_durable(changes)
        self._now.apply_in_any_order(changes)
        self._pending.append(changes)

    def flush(self) -> None:
        """Record an acknowledged flush: what was acknowledged before it was sent is durable."""
        self.history.note("flush")
        self._all_durable()

    def durable(self, why: str) -> None:
        """Record why all is durable without a flush: ``with the write cache off``."""
        self.history.note("durable", text=why)
        self._all_durable()

    def _all_durable(self) -> None:
        self._durable.clear()
        self._pending.clear()
        self._unknown.flush()

    def power_cut(self, seed: int | None = None, how: str = "") -> None:
        """Record a power cut: any subset of the pending writes is there, sector by sector.

        :param seed: decided which subset, where that is known; only the life has it, and ``how``.
        """
        for number, chunk in self._durable.items():
            if chunk is None:
                self._now.chunks.pop(number, None)
            else:
                self._now.chunks[number] = chunk
        for changes in self._pending:
            if len(changes) == 1:
                self._now.apply(changes[0], maybe=not changes[0].fua)
            else:
                self._now.apply_in_any_order(changes, maybe=True)
        self._unknown.power_cut()
        self.history.note("cut", text=how if seed is None else f"seed {seed}")
        self._all_durable()

    def resize(self, size: int) -> None:
        """Record a new size, durably: what is cut off is lost, what is added reads as zeroes."""
        if not 0 <= size <= LARGEST:
            raise ValueError(f"size {size} is not within 0 to 2^63-1")
        if size < self.size:
            self._now.truncate(size)
            before = Contents()
            before.chunks = {n: chunk for n, chunk in self._durable.items() if chunk}
            before.truncate(size)
            self._durable = {n: before.chunks.get(n) for n in self._durable}
            kept = [[c.clipped(size) for c in changes] for changes in self._pending]
            self._pending = [tuple(c for c in changes if c) for changes in kept]
            self._pending = [changes for changes in self._pending if changes]
        self._unknown.resize(min(size, self.size))
        self.history.note("resize", 0, size, text=f"from {self.size} to {size} bytes")
        self.size = size

    # Expectations

    def expected(self, offset: int, length: int) -> bytes:
        """Return what a read must return.

        :raise Ambiguous: some sector of the range has more than one right content.
        :raise Unpromised: a policy is waived, and without it some byte may be anything.
        """
        self._within(offset, length)
        if self._unknown.touch(offset, offset + length):
            policies = " and ".join(sorted(self.waived & {DISCARD, FAILED_WRITE}))
            raise Unpromised(f"the target waives {policies}, which decides what is to be compared")
        ambiguous = next(iter(self.ambiguous(offset, length)), None)
        if ambiguous is not None:
            raise Ambiguous(ambiguous)
        return self._likeliest(offset, length).tobytes()

    def ambiguous(self, offset: int = 0, length: int | None = None) -> list[int]:
        """Return the numbers of the sectors in a range that have more than one right content."""
        end = self.size if length is None else offset + length
        found: list[int] = []
        for number, low, high in self._now.pieces(offset, end, existing=True):
            choices = self._now.chunks[number].choices
            found += [s for s in sorted(choices) if low < (s + 1) * SECTOR and s * SECTOR < high]
        return found

    def unjudged(self) -> int:
        """Return how many sectors are not judged, because too many contents are possible."""
        chunks = self._now.chunks.values()
        return sum(states is None for chunk in chunks for states in chunk.choices.values())

    def used(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) of each range that may hold other than zeroes, 64 KiB aligned.

        With these a volume can be checked that is too large to be read as a whole.
        """
        start = end = -1
        for number in sorted(self._now.chunks):
            if number * CHUNK != end:
                if end > start:
                    yield start, min(end, self.size) - start
                start = number * CHUNK
            end = (number + 1) * CHUNK
        if end > start:
            yield start, min(end, self.size) - start

    def check(self, offset: int, data: Data, length: int | None = None) -> Findings:
        """Check the data that a read at ``offset`` returned; no finding means that it is right.

        :param length: the requested length, if less data may have come back; by default the length
            of the data.
        """
        seen = as_array(data)
        length = len(seen) if length is None else length
        self._within(offset, length)
        if len(seen) == length and self._is_likeliest(offset, seen):
            self.history.was_right(offset, length)
            return Findings(is_judged=length > 0)
        wanted, unsure = self._likeliest(offset, length), self.ambiguous(offset, length)
        for sector in unsure:
            low, high = max(sector * SECTOR, offset), min((sector + 1) * SECTOR, offset + len(seen))
            if low >= high:
                continue  # a short read ends before it
            states = self._now.states(sector)
            part = slice(low - sector * SECTOR, high - sector * SECTOR)
            there = seen[low - offset : high - offset]
            if states is None or is_one_of(there.tobytes(), states, part):
                wanted[low - offset : high - offset] = there
            else:
                likeliest = wanted[low - offset : high - offset]
                promised = self._unknown.others(np.arange(low, high)) - low
                permitted = [as_array(one[part]) for one in states]
                likeliest[:] = nearest(permitted, there, likeliest, promised)
        headers = self.history.stamps_of
        findings = diagnose(
            seen,
            offset,
            wanted,
            identity=self.identity,
            candidates=headers,
            finder=self.history.stamp_with,
        )
        if self._unknown and not (findings := self._unknown.beside(findings, seen, wanted, offset)):
            return findings
        for place, found in enumerate(findings):
            finding = self.history.raw.explained(found, seen, offset)
            last = self.history.last_writes(finding.offset, finding.length, _LAST_WRITES)
            whole = _sector_bytes(finding, seen, wanted, offset)
            finding = replace(finding, last_writes=last, volume=self.history.volume)
            finding = as_lost_write(of_unwritten(finding), whole)
            if place < _EXPLAINED:
                finding = explained(finding, whole, self.history)
            findings[place] = with_writes_of_part(finding, self.history.last_writes)
        for place in telling(findings, _LIVES):
            whole = _sector_bytes(findings[place], seen, wanted, offset)
            findings[place] = replace(findings[place], sector_bytes=whole)
        self._search(findings, seen, offset)
        for place in telling(findings, _LIVES):
            places = [((finding := findings[place]).offset, min(finding.length, SECTOR))]
            if finding.damage is Damage.MISDIRECTED and finding.moved is not None:
                places.append((finding.offset - finding.moved, SECTOR))
            findings[place] = self.history.with_life(finding, places)
        findings = in_zeroes(findings, wanted, offset)
        return self.history.contrasted(findings, offset, len(seen), unsure)

    def search(self, findings: Findings, seen: Bytes, offset: int) -> None:
        """Look in further data of the volume for what findings miss; note where it is.

        :param offset: of the data, in bytes; a multiple of 512.
        """
        self._search(findings, seen, offset)

    def _search(self, findings: Findings, seen: Bytes, offset: int) -> None:
        for place, finding in enumerate(findings[:_SEARCHED]):
            wanted = finding.expected
            if finding.found_at is not None or finding.damage not in MISSED or wanted is None:
                continue
            if wanted.generation is None or wanted.operation is None:
                found = place_of_part(finding, seen, offset, self._likeliest)
            else:
                version = wanted.generation, wanted.operation
                found = place_of_stamp(seen, offset, finding.sector, version, self.identity)
            if found is not None:
                findings[place] = replace(finding, found_at=found)

    def settle(self, offset: int, data: Data) -> None:
        """Expect the data of this read from now on: contents may not change without a write.

        :raise NotPermitted: the data is not one of the permitted contents.
        """
        findings = self.check(offset, data)
        if findings:
            raise NotPermitted(findings)
        seen = as_array(data)
        self._now.narrow(offset, seen, self.ambiguous(offset, len(seen)))

    def last_write(self, offset: int, length: int) -> str:
        """Return the last request that touched a range, as text; "" without one."""
        return "".join(map(str, self.history.last_writes(offset, length)))

    # Inside

    def _within(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{offset}+{length} is not within a volume of {self.size} bytes")

    def _note_unknown(self, text: str, change: Change) -> None:
        """Keep what is unknown because of the policies that are waived."""
        if not self.waived:
            return
        start, end = change.offset, change.offset + change.length
        policy = DISCARD if text.startswith("discard") else FAILED_WRITE
        if not change.maybe:
            self._unknown.remove(start, end, durable=change.fua)
        elif policy in self.waived:
            self._unknown.add(start, end)

    def _written(
        self, offset: int, data: Data, *, fua: bool = False, maybe: bool = False
    ) -> Change:
        array = as_array(data)
        return Change(offset, len(array), array, 0, maybe, fua)

    def _record(self, text: str, change: Change, operation: int | None) -> None:
        self._within(change.offset, change.length)
        if operation is None and change.data is not None:
            operation = self.history.known(operation_of(change.data, change.offset))
            operation = self.history.number_of(change.offset, change.data) or operation
        kind = "write" if change.data is not None or change.fill else "zero"
        if text.startswith("discard"):
            kind = "discard"
        is_certain = not change.maybe or kind == "discard"
        text += " (FUA)" if change.fua else ""
        how: dict[str, Any] = {"kind": kind, "fua": change.fua, "is_certain": is_certain}
        entry = self.history.record(text, change.offset, change.length, operation, **how)
        if entry.generation is None and change.data is not None:
            self.history.raw.add(entry, change.data)

    def _change(self, text: str, change: Change, operation: int | None = None) -> None:
        self._record(text, change, operation)
        self._note_unknown(text, change)
        self._save_durable((change,))
        self._now.apply(change)
        self._pending.append((change,))

    def _save_durable(self, changes: Sequence[Change]) -> None:
        """Keep the durable contents of each chunk before its first change since the last flush."""
        for change in changes:
            zeroing = change.data is None and change.fill == 0
            end = change.offset + change.length
            for number, _, _ in self._now.pieces(change.offset, end, existing=zeroing):
                if number not in self._durable:
                    chunk = self._now.chunks.get(number)
                    self._durable[number] = chunk.copy() if chunk else None

    def _likeliest(self, offset: int, length: int) -> Bytes:
        data = np.zeros(length, dtype=np.uint8)
        for number, low, high in self._now.pieces(offset, offset + length, existing=True):
            data[low - offset : high - offset] = self._now.data_at(number, low, high)
        return data

    def _is_likeliest(self, offset: int, seen: Bytes) -> bool:
        for number, low, high in self._now.pieces(offset, offset + len(seen)):
            there = self._now.data_at(number, low, high)
            if not np.array_equal(there, seen[low - offset : high - offset]):
                return False
        return True


def _sector_bytes(finding: Finding, seen: Bytes, wanted: Bytes, offset: int) -> Difference:
    """Return the first wrong sector, as far as it was read."""
    start = finding.first_difference // SECTOR * SECTOR
    low, high = max(start, offset), min(start + SECTOR, offset + len(seen))
    part = slice(low - offset, high - offset)
    return Difference(low, wanted[part].tobytes(), seen[part].tobytes())
