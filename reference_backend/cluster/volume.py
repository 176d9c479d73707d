"""The volume of the cluster as a store of the NBD server of one node."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable, Iterator, Sequence

from blockio.errors import BlockError
from blockio.extents import Extent
from reference_backend.cluster.messages import Kind
from reference_backend.cluster.process import NodeProcess
from reference_backend.store.interface import BytesLike

_AT_ONCE = 64
"""Granules of one request that are under way at a time."""


class ClusterStore:
    """Bytes that the cluster keeps. A request that the cluster does not answer in time is EIO.

    :param size: in bytes, a multiple of ``granule_bytes``.
    """

    def __init__(self, process: NodeProcess, size: int, granule_bytes: int) -> None:
        self.size = size
        self._process = process
        self._granule_bytes = granule_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        parts = self._parts(offset, length)
        found = self._done([(Kind.READ, granule, 0, b"") for granule, *_ in parts])
        return b"".join(data[start:end] for data, (_, start, end) in zip(found, parts, strict=True))

    def write(self, offset: int, data: BytesLike) -> None:
        """Store bytes on a quorum."""
        view = memoryview(data)
        requests = []
        for granule, start, end in self._parts(offset, len(view)):
            requests.append((Kind.WRITE, granule, start, bytes(view[: end - start])))
            view = view[end - start :]
        self._done(requests)

    def zero(self, offset: int, length: int, allocate: bool) -> None:  # noqa: ARG002  # no holes
        """Write zeroes."""
        for at in range(offset, offset + length, _AT_ONCE * self._granule_bytes):
            self.write(at, bytes(min(_AT_ONCE * self._granule_bytes, offset + length - at)))

    def is_zero_fast(self, offset: int, length: int, allocate: bool) -> bool:  # noqa: ARG002
        """Return False: zeroes are written."""
        return False

    def status(self, offset: int, length: int) -> Iterator[Extent]:  # noqa: ARG002
        """Yield one extent of data."""
        yield Extent(length, 0)

    def data(self, offset: int, end: int) -> Iterable[tuple[int, int]]:
        """Yield the whole range."""
        yield offset, end

    def resize(self, size: int) -> None:  # noqa: ARG002
        """Refuse: the size is that of three stores."""
        raise BlockError(errno.ENOTSUP, "a cluster keeps its size")

    def sync(self) -> None:
        """Make everything durable on a quorum."""
        self._done([(Kind.FLUSH, 0, 0, b"")])

    def snapshot(self, name: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise BlockError(errno.ENOTSUP, "a cluster has no snapshots")

    def allocated(self) -> int:
        """Return the size."""
        return self.size

    def close(self) -> None:
        """Do nothing: the process is stopped by its owner."""

    def _parts(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """Return granule, start and end in it of each part of a range."""
        size, end = self._granule_bytes, offset + length
        return [
            (granule, max(offset - granule * size, 0), min(end - granule * size, size))
            for granule in range(offset // size, (end + size - 1) // size if length else 0)
        ]

    def _done(self, requests: Sequence[tuple[str, int, int, bytes]]) -> list[bytes]:
        """Do requests, some at a time; return what they return, in order."""
        found: list[bytes | None] = [None] * len(requests)
        for first in range(0, len(requests), _AT_ONCE):
            some = requests[first : first + _AT_ONCE]
            left = threading.Semaphore(0)
            for place, (kind, granule, start, data) in enumerate(some, first):

                def done(data: bytes | None, place: int = place) -> None:
                    found[place] = data
                    left.release()  # noqa: B023  # all are awaited before the next turn

                self._process.submit(kind, granule, start, data, done)
            for _ in some:
                left.acquire()
        whole = [one for one in found if one is not None]
        if len(whole) != len(found):
            raise BlockError(errno.EIO, "no quorum of the cluster answered in time")
        return whole
