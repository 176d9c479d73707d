"""What a guest wrote to a volume, by the write log of the target, compared with the volume.

A test of LTP or fio only says that a file is wrong. The log says which sectors were written last
with which data, so the sector, the kind of damage and the write that was damaged can be named.

The log is followed while it is written, and its space is given back: it would become as large as
all that the guest writes. The last data of each sector is kept in a sparse file.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from blockio.errors import BlockError
from blockio.sizes import parse_size
from blockio.write_log import SECTOR, Entry, LogFlag, LogFollower, WriteLogError
from oracles.damage import Confidence, Damage, Difference, Operation
from oracles.diagnosis import diagnose
from oracles.finding import DISCARDED, Finding
from qbdcheck import clock
from qbdcheck.errors import ProgramError
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import WrongData
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client

_STEP_S = 0.05
_PIECE = 1 << 20
_MOST = 32
"""Sectors that are diagnosed; a volume that is wrong everywhere has millions."""
_AROUND = 2 << 20
"""Bytes on both sides in which the data of a lost write is searched."""
_CONNECT_S = 30.0
_Bytes = NDArray[np.uint8]
_Hashes = NDArray[np.uint64]
_Places = NDArray[np.intp]
_WEIGHTS = np.random.default_rng(512).integers(1, 1 << 63, 64, dtype=np.uint64) * 2 + 1


class LoggedVolume:
    """Follows the log of one volume.

    :param log: the file that the target writes; the first entry may already be in it.
    :param shadow: a new file for the last data of each sector, sparse.
    """

    def __init__(self, disk: Disk, size: int, log: Path, shadow: Path) -> None:
        self._disk = disk
        self._size = size
        self._expected = np.memmap(shadow, dtype=np.uint8, mode="w+", shape=(size,))
        sectors = size // SECTOR
        self._number = np.zeros(sectors, dtype=np.uint32)
        """The number of the last write of each sector; 0: none, or discarded since."""
        self._hash = np.zeros(sectors, dtype=np.uint64)
        self._before = np.zeros(sectors, dtype=np.uint64)
        """Hashes of the data of each sector: the last, and the one before."""
        self._places, self._lengths = array("Q", [0]), array("Q", [0])
        self._discards = array("Q")
        """The numbers of the discards."""
        self._log = LogFollower(log)
        self._error: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            while not self._stopped.is_set():
                self._take()
                clock.pause(_STEP_S)
            self._take()
        except (WriteLogError, OSError) as error:
            self._error = error

    def _take(self) -> None:
        for entry in self._log.new_entries():
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        if not entry.length or entry.flags & LogFlag.MARK:
            return
        self._places.append(entry.offset)
        self._lengths.append(entry.length)
        end = min(entry.offset + entry.length, self._size)
        where = slice(entry.offset // SECTOR, end // SECTOR)
        if entry.flags & LogFlag.DISCARD:
            self._number[where] = 0  # what is there now may be old or zero
            self._discards.append(len(self._places) - 1)
            return
        data = np.frombuffer(entry.data, dtype=np.uint8)[: end - entry.offset]
        self._expected[entry.offset : end] = data
        self._before[where] = self._hash[where]
        self._hash[where] = _hashes(data)
        self._number[where] = len(self._places) - 1

    def findings(self) -> list[Finding]:
        """Return what is wrong on the volume; ends the following. The guest must have ended.

        :raise BlockError: the volume cannot be read.
        :raise WriteLogError: the log is damaged.
        """
        with Client.connect(self._disk.uri, timeout_s=_CONNECT_S) as client:
            client.flush()  # carried out after all that the guest sent
            self.stop()
            if self._error is not None:
                raise self._error
            found = list(self._wrong(client))
        return _joined(found)

    def stop(self) -> None:
        """End the following; may be called twice."""
        self._stopped.set()
        self._thread.join()
        self._log.close()

    def _wrong(self, client: Client) -> Iterator[Finding]:
        wrong = dict(itertools.islice(self._differing(client), _MOST))
        lost = {sector: self._elsewhere(client, sector) for sector in wrong}
        found_at = {sector: self._owners(_hashes(seen)[0]) for sector, seen in wrong.items()}
        distances: Counter[int] = Counter()
        for sector, owners in found_at.items():
            distances.update((sector - owners).tolist())
        for sector, others in lost.items():
            distances.update((others - sector).tolist())
        for sector, seen in wrong.items():
            owner = _likeliest(found_at[sector], sector, -1, distances)
            # A sector that should have other data has a finding of its own.
            free = [
                int(one)
                for one in lost[sector]
                if int(one) not in wrong and not self._has_its_own(one, sector)
            ]
            yield from self._diagnosed(sector, seen, owner, _likeliest(free, sector, 1, distances))

    def _differing(self, client: Client) -> Iterator[tuple[int, _Bytes]]:
        """Yield the sectors that have other data than that of their last write, with it."""
        for start, seen in self._pieces(client):
            first = start // SECTOR
            last = first + len(seen) // SECTOR
            differs = (self._expected[start : start + len(seen)] != seen).reshape(-1, SECTOR)
            wrong = differs.any(axis=1) & (self._number[first:last] > 0)
            for index in np.flatnonzero(wrong):
                at = int(index) * SECTOR
                yield first + int(index), seen[at : at + SECTOR]

    def _pieces(self, client: Client) -> Iterator[tuple[int, _Bytes]]:
        """Yield the parts of the volume that were written, with their contents."""
        per = _PIECE // SECTOR
        for first in range(0, len(self._number), per):
            if self._number[first : first + per].any():
                start = first * SECTOR
                length = min(_PIECE, self._size - start)
                yield start, np.frombuffer(client.read(start, length), dtype=np.uint8)

    def _diagnosed(
        self, sector: int, seen: _Bytes, owner: int | None, moved_to: int | None
    ) -> Iterator[Finding]:
        """Yield what is wrong with a sector.

        :param owner: the sector whose data it has. :param moved_to: the sector that has its data.
        """
        place = sector * SECTOR
        wanted = self._expected[place : place + SECTOR].tobytes()
        number = int(self._number[sector])
        write = Operation(number, self._places[number], self._lengths[number], "write")
        (first, *_) = [*diagnose(seen, place, wanted), None]
        assert first is not None, "the contents differ"
        whole = Difference(place, wanted, seen.tobytes())
        first = replace(first, sector_bytes=whole, last_writes=(write,))
        about = f"of write #{number} to {write.offset}+{write.length}, by the write log"
        # A sector with one flipped bit may have been read and copied to other sectors since.
        is_flip = first.damage is Damage.BIT_FLIP and first.count == 1
        if not seen.any():
            zeroed = _renamed(first, Damage.ZEROED, f"zeroed: no data {about}")
            yield replace(zeroed, evidence=self._beside_discard(place, number))
        elif self._before[sector] == _hashes(seen)[0]:
            yield _renamed(first, Damage.STALE, f"stale: older data than that {about}")
        elif is_flip or owner is None:
            is_known = first.damage is not Damage.UNKNOWN
            remark = f"{first.text}, in the data {about}" if is_known else f"not the data {about}"
            yield replace(first, remark=remark)
        else:
            whose = f"of write #{self._number[owner]}"
            remark = f"misdirected: it has the data of sector {owner}, {whose}"
            moved = (sector - owner) * SECTOR
            yield _renamed(first, Damage.MISDIRECTED, remark, moved)
        if moved_to is not None:
            remark = f"misdirected: it has the data of sector {sector}, {about}"
            at = moved_to * SECTOR
            data = Finding(
                Damage.MISDIRECTED, at, SECTOR, seen=first.expected, last_writes=(write,)
            )
            yield _renamed(data, Damage.MISDIRECTED, remark, at - place)

    def _beside_discard(self, place: int, number: int) -> tuple[str, ...]:
        """Return which discard after a write ended just before a place, or began just behind it."""
        for later in reversed(self._discards):
            start, end = self._places[later], self._places[later] + self._lengths[later]
            if later < number:
                break
            if end <= place < end + SECTOR or place < start <= place + SECTOR:
                side = "behind" if end <= place else "before"
                which = f"discard #{later} of {end - start} bytes at offset {start}"
                return (f"{DISCARDED} {side} {which}, which came after write #{number}",)
        return ()

    def _owners(self, wanted: np.uint64) -> _Places:
        """Return the sectors whose last data has this hash."""
        return np.flatnonzero((self._hash == wanted) & (self._number > 0))

    def _elsewhere(self, client: Client, sector: int) -> _Places:
        """Return the other sectors near a sector that have its data, by right or not."""
        place = sector * SECTOR
        wanted = np.asarray(self._expected[place : place + SECTOR])
        if not wanted.any():
            return np.empty(0, dtype=np.intp)
        start = max(place - _AROUND, 0)
        end = min(place + _AROUND, self._size)
        seen = np.frombuffer(client.read(start, end - start), dtype=np.uint8).reshape(-1, SECTOR)
        others = np.flatnonzero((seen == wanted).all(axis=1)) + start // SECTOR
        found: _Places = others[others != sector]
        return found

    def _has_its_own(self, other: int, sector: int) -> bool:
        """Return whether the same data as that of a sector was written to another one, too."""
        return bool(self._number[other] and self._hash[other] == self._hash[sector])


def _likeliest(
    places: Iterable[int], sector: int, sign: int, distances: Mapping[int, int]
) -> int | None:
    """Return the place whose distance is that of most wrong sectors, or else the nearest.

    Data such as one byte all over is at many places.
    """
    return min(
        map(int, places),
        key=lambda one: (-distances[sign * (one - sector)], abs(one - sector)),
        default=None,
    )


def _renamed(one: Finding, damage: Damage, remark: str, moved: int | None = None) -> Finding:
    """Return a finding with another kind, which is that of all of its sector."""
    return replace(
        one, damage=damage, moved=moved, part=None, count=None, remark=remark,
        confidence=Confidence.CERTAIN,
    )  # fmt: skip


def _joined(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings of neighbouring sectors with one cause as one, each place once."""
    joined: list[Finding] = []
    for one in sorted(findings, key=lambda one: (one.damage.value, one.moved or 0, one.offset)):
        last = joined[-1] if joined else None
        alike = last is not None and (last.damage, last.moved) == (one.damage, one.moved)
        alike = alike and one.damage is not Damage.BIT_FLIP
        if last is not None and alike and one.offset <= last.offset + last.length:
            length = max(one.offset + one.length - last.offset, last.length)
            last = replace(last, evidence=last.evidence or one.evidence)
            joined[-1] = replace(last, length=length)
        else:
            joined.append(one)
    return joined


def _hashes(data: _Bytes) -> _Hashes:
    """Return a hash of each sector."""
    words = np.ascontiguousarray(data).view(np.uint64).reshape(-1, SECTOR // 8)
    hashes: _Hashes = (words * _WEIGHTS).sum(axis=1, dtype=np.uint64)
    return hashes


def can_log(target: TargetSession) -> bool:
    """Return whether the log of a target is that of what its guests write.

    The log is of the volume. An image on it has other data at other places.
    """
    return "request_log" in target.capabilities and target.image_format == "raw"


class LoggedVolumes:
    """The volumes of one guest. Without a log, nothing is checked.

    :param directory: for logs and shadows; None if the target cannot log.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._volumes: list[LoggedVolume] = []

    @classmethod
    def of(cls, target: TargetSession, directory: Path) -> Self:
        """Return the volumes of a guest on a target; without a log nothing is checked."""
        return cls(directory if can_log(target) else None)

    def new(self, new_disk: Callable[..., Disk], size: str) -> Disk:
        """Make a disk without contents, and follow its log."""
        number = len(self._volumes)
        disk = new_disk(size, prefill=False, **self.options(number))
        self.follow(number, disk, parse_size(size))
        return disk

    def options(self, number: int) -> dict[str, str]:
        """Return the options with which the disk of this number must be made."""
        return {} if self._directory is None else {"request_log": str(self._path(number, "log"))}

    def follow(self, number: int, disk: Disk, size: int) -> None:
        """Follow the log of a disk that was made with `options`."""
        if self._directory is not None:
            log, shadow = (self._path(number, kind) for kind in ("log", "written"))
            self._volumes.append(LoggedVolume(disk, size, log, shadow))

    def _path(self, number: int, kind: str) -> Path:
        assert self._directory is not None
        return self._directory / f"guest-volume{number}.{kind}"

    def check(self, what: str) -> None:
        """Compare all volumes with what was written to them. The guest must have ended.

        :raise WrongData: a volume has other data; names sector, kind and write.
        """
        found: list[Finding] = []
        for volume in self._volumes:
            found += volume.findings()
        if found:
            raise WrongData(what, found)

    @contextlib.contextmanager
    def checked(self, what: str, end: Callable[[], None]) -> Iterator[None]:
        """Check the volumes after the block; what is found is chained to a failure of the block.

        :param end: ends the guest at once.
        """
        try:
            try:
                yield
            except (AssertionError, ProgramError) as error:
                end()
                # The failure itself counts where the volume cannot be read any more.
                with contextlib.suppress(BlockError, OSError):
                    self.check(f"{what}: {str(error).partition(chr(10))[0]}")
                raise
            end()
            self.check(what)
        finally:
            for volume in self._volumes:
                volume.stop()
