"""The store of one node: granules with versions, and the few facts that a vote rests on.

Each granule has two slots. A write goes to the slot that is not durable, so that a power cut that
tears it leaves the durable one whole. A sync makes the written slots the durable ones. A slot has a
checksum: one that is torn is as good as one that was never written.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple, Protocol

from reference_backend.cluster.messages import Record, Table, Version

NEVER_WRITTEN: Version = (0, 0)
_HEADER = struct.Struct("<IIQQ")
"""Checksum, number of origins, version."""
_ORIGIN = struct.Struct("<QQ")
ORIGINS = 8
"""The clients whose last write is remembered in each granule."""
_SLOT_HEADER = _HEADER.size + ORIGINS * _ORIGIN.size
_META = struct.Struct("<IQQQQ??16s")
_META_BYTES = 512
_FIRST_SLOT = 2 * _META_BYTES


class Disk(Protocol):
    """What a replica needs of a disk.

    :ivar boot: 16 bytes that are other ones after the power was cut.
    """

    boot: bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range; zeroes where nothing was written."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; a power cut may lose or tear them until the next sync."""
        ...

    def sync(self) -> None:
        """Make all writes durable."""
        ...


class Meta(NamedTuple):
    """What must survive: the highest epoch, the vote in it, and the trust in the store."""

    epoch: int = 0
    vote: int = 0
    incarnation: int = 0
    is_doubtful: bool = True
    is_blank: bool = True


class Replica:
    """The granules of one node.

    :param granules: their number; ``granule_bytes``: their size.
    :param start: a number that is higher at each start, also after the store was replaced.
    """

    def __init__(self, disk: Disk, granules: int, granule_bytes: int, start: int) -> None:
        self.granules = granules
        self.granule_bytes = granule_bytes
        self._disk = disk
        self._slot_bytes = _SLOT_HEADER + granule_bytes
        self._durable = [0] * granules
        self._written: dict[int, int] = {}
        self._versions: list[Version] = [NEVER_WRITTEN] * granules
        self._number, self.meta = self._load()
        self._scan()
        self.sync()  # what is in the page cache after a kill of the process is durable from here on
        self.save(self.meta._replace(incarnation=max(self.meta.incarnation + 1, start)))

    @property
    def table(self) -> Table:
        """The version of each granule."""
        return tuple(self._versions)

    def version(self, granule: int) -> Version:
        """Return the version of a granule."""
        return self._versions[granule]

    def get(self, granule: int) -> Record:
        """Return a granule; zeroes if it was never written."""
        return self._slot(granule, self._newest(granule)) or self._empty()

    def put(self, granule: int, record: Record) -> None:
        """Write a granule; it is durable after the next sync."""
        slot = self._slot_for(granule)
        origins = record.origins[-ORIGINS:]
        packed = b"".join(_ORIGIN.pack(*one) for one in origins).ljust(
            ORIGINS * _ORIGIN.size, b"\0"
        )
        body = _HEADER.pack(0, len(origins), *record.version)[4:] + packed + record.data
        self._disk.write(self._place(granule, slot), struct.pack("<I", zlib.crc32(body)) + body)
        self._written[granule] = slot
        self._versions[granule] = record.version

    def sync(self) -> None:
        """Make all granules durable."""
        self._disk.sync()
        for granule, slot in self._written.items():
            self._durable[granule] = slot
        self._written.clear()

    def save(self, meta: Meta) -> None:
        """Make the facts of a vote durable."""
        self.meta = meta
        self._number += 1
        body = _META.pack(0, self._number, *meta, self._disk.boot)[4:]
        place = self._number % 2 * _META_BYTES
        self._disk.write(place, struct.pack("<I", zlib.crc32(body)) + body)
        self.sync()

    def _slot_for(self, granule: int) -> int:
        return self._written.get(granule, 1 - self._durable[granule])

    def _newest(self, granule: int) -> int:
        return self._written.get(granule, self._durable[granule])

    def _place(self, granule: int, slot: int) -> int:
        return _FIRST_SLOT + (2 * granule + slot) * self._slot_bytes

    def _empty(self) -> Record:
        return Record(NEVER_WRITTEN, (), bytes(self.granule_bytes))

    def _slot(self, granule: int, slot: int) -> Record | None:
        """Return what a slot holds; None if it was never written, or is torn."""
        raw = self._disk.read(self._place(granule, slot), self._slot_bytes)
        checksum, count, epoch, number = _HEADER.unpack_from(raw)
        if (epoch, number) == NEVER_WRITTEN or not self._is_whole(checksum, raw[4:]):
            return None
        places = range(_HEADER.size, _HEADER.size + count * _ORIGIN.size, _ORIGIN.size)
        origins = tuple((one[0], one[1]) for one in (_ORIGIN.unpack_from(raw, at) for at in places))
        return Record((epoch, number), origins, raw[_SLOT_HEADER:])

    def _is_whole(self, checksum: int, body: bytes) -> bool:
        return checksum == zlib.crc32(body)

    def _scan(self) -> None:
        for granule in range(self.granules):
            found = [self._slot(granule, slot) for slot in (0, 1)]
            versions = [one.version if one else NEVER_WRITTEN for one in found]
            self._versions[granule] = max(versions)
            self._durable[granule] = versions.index(max(versions))

    def _load(self) -> tuple[int, Meta]:
        """Return the newest facts and their number; the power may have been cut since."""
        newest, found = 0, Meta()
        for place in (0, _META_BYTES):
            raw = self._disk.read(place, _META.size)
            checksum, number, epoch, vote, incarnation, is_doubtful, is_blank, boot = _META.unpack(
                raw
            )
            if number > newest and checksum == zlib.crc32(raw[4:]):
                is_doubtful = is_doubtful or boot != self._disk.boot
                newest, found = number, Meta(epoch, vote, incarnation, is_doubtful, is_blank)
        return newest, found
