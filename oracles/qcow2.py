"""Read a qcow2 image as a guest sees it, without QEMU: thousands of images a second.

Supported are the header, L1 and L2 tables, zero clusters, subclusters (extended L2) and external
data files, as in QEMU's docs/interop/qcow2.txt. Images with compressed clusters, encryption or
backing files are refused.
"""

from __future__ import annotations

import struct

from xxhash import xxh3_64

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_FEATURES = struct.Struct(">QQQII")
_DATA_FILE, _EXTENDED_L2 = 1 << 2, 1 << 4
_KNOWN = 1 | 2 | _DATA_FILE | _EXTENDED_L2  # dirty, corrupt
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_ZERO = 1
_SUBCLUSTERS = 32


class Qcow2Error(ValueError):
    """The image is damaged or uses an unsupported feature; the message says what and where."""


class Qcow2:
    """An image. Each call of `read` reads the tables again.

    :param image: the file's bytes.
    :param data: the external data file's bytes, where there is one.
    :raise Qcow2Error: the header is damaged or needs an unsupported feature.
    """

    def __init__(self, image: memoryview, data: memoryview | None = None) -> None:
        self._image = image
        if len(image) < _HEADER.size or bytes(image[:4]) != MAGIC:
            raise Qcow2Error("no qcow2 header at the start")
        fields = _HEADER.unpack_from(image)
        _, version, backing, _, bits, self.size, crypt, self._l1_size, self._l1 = fields[:9]
        features = _FEATURES.unpack_from(image, _HEADER.size)[0] if version >= 3 else 0
        if version not in (2, 3) or not 9 <= bits <= 21:
            raise Qcow2Error(f"version {version} with clusters of 2^{bits} bytes")
        if backing or crypt or features & ~_KNOWN:
            raise Qcow2Error(
                f"backing file, encryption or features {features:#x} are not supported"
            )
        if features & _DATA_FILE and data is None:
            raise Qcow2Error("the image has an external data file, which was not given")
        self._data = data if features & _DATA_FILE and data is not None else image
        self._cluster = 1 << bits
        self._extended = bool(features & _EXTENDED_L2)
        self._entry_size = 16 if self._extended else 8

    @property
    def is_dirty(self) -> bool:
        """Whether reference counts may be out of date (lazy_refcounts)."""
        version = int.from_bytes(self._image[4:8], "big")
        return version >= 3 and bool(self._image[_HEADER.size + 7] & 1)

    def read(self, offset: int, length: int) -> bytes:
        """Return guest data.

        :raise Qcow2Error: a table or a cluster lies outside of the file, or is compressed.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise Qcow2Error(f"{offset}+{length} is not within a disk of {self.size} bytes")
        parts = []
        while length:
            within = offset % self._cluster
            count = min(length, self._cluster - within)
            parts.append(self._read_cluster(offset // self._cluster, within, count))
            offset, length = offset + count, length - count
        return b"".join(parts)

    def metadata_key(self) -> int:
        """Return a number that is equal for images that differ only in the guest's data.

        :raise Qcow2Error: a table lies outside of the file.
        """
        size, data = self._cluster, set()
        if self._data is self._image:
            for index in range(self._l1_size):
                table = self._number(self._l1 + 8 * index, "the L1 table") & _OFFSET
                for at in range(table, table + size if table else table, self._entry_size):
                    entry = self._number(at, f"L2 table {index}")
                    if entry & _OFFSET and not entry & _COMPRESSED:
                        data.add((entry & _OFFSET) // size)
        state = xxh3_64()
        start = 0
        for cluster in sorted(data):
            if cluster * size > start:
                state.update(self._image[start : cluster * size])
            start = (cluster + 1) * size
        state.update(self._image[start:])
        return int(state.intdigest())

    def _number(self, at: int, what: str) -> int:
        if at + 8 > len(self._image):
            raise Qcow2Error(f"{what} at {at} is behind the end of the file")
        return int.from_bytes(self._image[at : at + 8], "big")

    def _read_cluster(self, cluster: int, within: int, count: int) -> bytes:
        per_table = self._cluster // self._entry_size
        index, slot = divmod(cluster, per_table)
        if index >= self._l1_size:
            raise Qcow2Error(f"cluster {cluster} is beyond the L1 table of {self._l1_size} entries")
        table = self._number(self._l1 + 8 * index, "the L1 table") & _OFFSET
        if not table:
            return bytes(count)
        at = table + slot * self._entry_size
        entry = self._number(at, f"L2 table {index}")
        if entry & _COMPRESSED:
            raise Qcow2Error(f"cluster {cluster} is compressed, which is not supported")
        host = entry & _OFFSET
        if self._extended:
            return self._read_subclusters(host, self._number(at + 8, "a bitmap"), within, count)
        if entry & _ZERO or (not host and self._data is self._image):
            return bytes(count)
        return self._host(host + within, count, entry != 0)

    def _read_subclusters(self, host: int, bitmap: int, within: int, count: int) -> bytes:
        unit = self._cluster // _SUBCLUSTERS
        parts = []
        while count:
            number, start = divmod(within, unit)
            step = min(count, unit - start)
            allocated = bitmap >> number & 1
            parts.append(self._host(host + within, step, True) if allocated else bytes(step))
            within, count = within + step, count - step
        return b"".join(parts)

    def _host(self, at: int, count: int, allocated: bool) -> bytes:
        if not allocated:
            return bytes(count)
        # A file may end within its last cluster; the missing part reads as zeroes.
        if at > len(self._data):
            raise Qcow2Error(f"data at {at} is behind the end of the file")
        return bytes(self._data[at : at + count]).ljust(count, b"\0")
