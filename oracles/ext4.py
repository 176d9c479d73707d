"""Read the files of an ext4 image as Linux does when the journal is empty.

This reads what mke2fs makes today: files with extents, no inline data
(Linux, Documentation/filesystems/ext4/: globals, group descriptors, inodes, ifork, directories).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SUPER_AT, _MAGIC = 1024, 0xEF53
_ROOT_INODE = 2
_INCOMPAT_META_BG, _INCOMPAT_64BIT = 0x10, 0x80
_FLAG_EXTENTS = 0x80000
_EXTENT_MAGIC = 0xF30A
_UNWRITTEN = 32768
_TYPE_MASK, _DIRECTORY, _FILE = 0xF000, 0x4000, 0x8000


class Ext4Error(ValueError):
    """The image is not ext4, is damaged, or uses a feature that is not supported here."""


class Ext4:
    """A file system.

    :param image: its bytes.
    :raise Ext4Error: it is not ext4.
    """

    def __init__(self, image: memoryview) -> None:
        self._image = image
        if len(image) < 2 * _SUPER_AT or self._u16(_SUPER_AT + 56) != _MAGIC:
            raise Ext4Error("no ext4 superblock")
        features = self._u32(_SUPER_AT + 96)
        if features & _INCOMPAT_META_BG:
            raise Ext4Error("the feature meta_bg is not supported")
        self._block = 1024 << self._u32(_SUPER_AT + 24)
        self._inodes_per_group = self._u32(_SUPER_AT + 40)
        self._inode_size = self._u16(_SUPER_AT + 88)
        self._descriptors_at = (self._u32(_SUPER_AT + 20) + 1) * self._block
        self._descriptor_size = self._u16(_SUPER_AT + 254) if features & _INCOMPAT_64BIT else 32

    def tree(self, path: str = "") -> dict[str, bytes | None]:
        """Return the contents of all files below a directory by path; None for directories.

        The directory lost+found is left out.

        :param path: from the root, without a leading slash.
        :raise Ext4Error: there is no such directory, or it cannot be read.
        """
        inode = _ROOT_INODE
        for name in filter(None, path.split("/")):
            found = dict(self._entries(inode)).get(name)
            if found is None:
                raise Ext4Error(f"no directory {path}")
            inode = found
        return dict(self._walk(inode, ""))

    def _walk(self, directory: int, prefix: str) -> Iterator[tuple[str, bytes | None]]:
        for name, inode in self._entries(directory):
            if not prefix and name == "lost+found":
                continue
            kind = self._u16(self._inode_at(inode)) & _TYPE_MASK
            if kind == _DIRECTORY:
                yield prefix + name, None
                yield from self._walk(inode, f"{prefix}{name}/")
            elif kind == _FILE:
                yield prefix + name, self._contents(inode)

    def _entries(self, inode: int) -> Iterator[tuple[str, int]]:
        if self._u16(self._inode_at(inode)) & _TYPE_MASK != _DIRECTORY:
            raise Ext4Error(f"inode {inode} is not a directory")
        data = self._contents(inode)
        at = 0
        while at < len(data):
            number, length, name_length = struct.unpack_from("<IHB", data, at)
            if length < 8:
                raise Ext4Error(f"directory {inode} is damaged at {at}")
            name = data[at + 8 : at + 8 + name_length].decode(errors="backslashreplace")
            if number and name not in {".", ".."}:
                yield name, number
            at += length

    def _contents(self, inode: int) -> bytes:
        at = self._inode_at(inode)
        size = self._u32(at + 4) | self._u32(at + 108) << 32
        if size > len(self._image):
            raise Ext4Error(f"inode {inode} has {size} bytes")
        if not self._u32(at + 32) & _FLAG_EXTENTS:
            raise Ext4Error(f"inode {inode} has no extents")
        data = bytearray(size)
        for logical, blocks, physical in self._extents(at + 40, 60):
            begin = logical * self._block
            length = min(blocks * self._block, max(0, size - begin))
            where = physical * self._block
            if where + length > len(self._image):
                raise Ext4Error(f"inode {inode} has block {physical}, which is not in the image")
            data[begin : begin + length] = self._image[where : where + length]
        return bytes(data)

    def _extents(self, at: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield first block of the file, number of blocks, first block of the image."""
        magic, count, _, depth = struct.unpack_from("<HHHH", self._image, at)
        if magic != _EXTENT_MAGIC or 12 * (count + 1) > length:
            raise Ext4Error(f"no extents at {at}")
        for entry in range(at + 12, at + 12 + 12 * count, 12):
            if depth:
                _, low, high = struct.unpack_from("<IIH", self._image, entry)
                yield from self._extents((low | high << 32) * self._block, self._block)
                continue
            logical, blocks, high, low = struct.unpack_from("<IHHI", self._image, entry)
            if blocks <= _UNWRITTEN:  # longer extents are unwritten and read as zeroes
                yield logical, blocks, low | high << 32

    def _inode_at(self, inode: int) -> int:
        group, index = divmod(inode - 1, self._inodes_per_group)
        at = self._descriptors_at + group * self._descriptor_size
        table = self._u32(at + 8)
        if self._descriptor_size >= 64:
            table |= self._u32(at + 40) << 32
        place = table * self._block + index * self._inode_size
        if not 0 < place <= len(self._image) - self._inode_size:
            raise Ext4Error(f"inode {inode} is not in the image")
        return place

    def _u16(self, at: int) -> int:
        return int.from_bytes(self._image[at : at + 2], "little")

    def _u32(self, at: int) -> int:
        return int.from_bytes(self._image[at : at + 4], "little")
