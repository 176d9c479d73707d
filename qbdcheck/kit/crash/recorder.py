"""A volume in memory that logs all writes, for applications that are to crash."""

from __future__ import annotations

from collections.abc import Sequence

from blockio.write_log import SECTOR, Entry, LogFlag


class Recorder:
    """A disk of ``size`` bytes, initially zeroes, for requests of whole sectors of 512 bytes.

    :param drops_flushes: acknowledge flushes without logging them.
    """

    def __init__(self, size: int, drops_flushes: bool = False) -> None:
        self.size = size
        self.log: list[Entry] = []
        self._image = bytearray(size)
        self._drops_flushes = drops_flushes

    @property
    def image(self) -> memoryview:
        """The present contents, writable."""
        return memoryview(self._image)

    @property
    def position(self) -> int:
        """Number of log entries."""
        return len(self.log)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes."""
        return bytes(self._image[offset : offset + length])

    def write(self, offset: int, data: bytes, fua: bool = False) -> None:
        """Write whole sectors.

        :raise ValueError: the range is not in whole sectors, or beyond the end.
        """
        self._must_fit(offset, len(data))
        self._image[offset : offset + len(data)] = data
        self.log.append(Entry(LogFlag.FUA if fua else LogFlag(0), offset, len(data), data))

    def discard(self, offset: int, length: int) -> None:
        """Discard whole sectors."""
        self._must_fit(offset, length)
        self._image[offset : offset + length] = bytes(length)
        self.log.append(Entry(LogFlag.DISCARD, offset, length))

    def flush(self) -> None:
        """Make everything durable."""
        if not self._drops_flushes:
            self.log.append(Entry(LogFlag.FLUSH))

    def _must_fit(self, offset: int, length: int) -> None:
        if offset % SECTOR or length % SECTOR or not 0 <= offset <= self.size - length:
            raise ValueError(f"{offset}+{length} is not in whole sectors of {self.size} bytes")


def without_flushes(log: Sequence[Entry]) -> list[Entry]:
    """Return a log without its flushes and FUA; marks stay where they are."""
    lying = []
    for entry in log:
        flags = entry.flags & ~(LogFlag.FLUSH | LogFlag.FUA)
        is_mark = not entry.length
        lying.append(entry._replace(flags=LogFlag.MARK if is_mark else flags))
    return lying
