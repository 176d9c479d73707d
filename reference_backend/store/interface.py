"""The interface between a volume and the store of its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from blockio.extents import Extent

BytesLike = bytes | bytearray | memoryview


class Store(Protocol):
    """A store of bytes: memory, segment files, or an image file. It needs no lock of its own.

    Ranges are inside the size. A store raises BlockError (ENOSPC or EIO) or OSError.
    """

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        ...

    def write(self, offset: int, data: BytesLike) -> None:
        """Store bytes."""
        ...

    def zero(self, offset: int, length: int, allocate: bool) -> None:
        """Zero a range: free whole blocks, or allocate them."""
        ...

    def is_zero_fast(self, offset: int, length: int, allocate: bool) -> bool:
        """Return whether :meth:`zero` would be faster than a write of zeroes."""
        ...

    def status(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield the extents of a range."""
        ...

    def data(self, offset: int, end: int) -> Iterable[tuple[int, int]]:
        """Yield the parts of ``[offset, end)`` that may contain bytes other than zero."""
        ...

    def resize(self, size: int) -> None:
        """Set the size; atomic, and new bytes are zeroes."""
        ...

    def sync(self) -> None:
        """Make everything durable. Called without the volume's lock."""
        ...

    def snapshot(self, name: str) -> None:
        """Save the contents under a name, atomically."""
        ...

    def allocated(self) -> int:
        """Return the number of allocated bytes, in whole blocks."""
        ...

    def close(self) -> None:
        """Release files and locks."""
        ...
