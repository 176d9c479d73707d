"""The disk of a vhost-user-blk daemon as a device of the NBD server.

virtio-blk has no FUA, no block status and no cache request, and its unit is a sector of 512 bytes;
so the server does not offer them. The daemon's own block size is the minimum of a request.
"""

from __future__ import annotations

import contextlib
import errno
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from blockio.errors import BlockError
from blockio.extents import Extent
from reference_backend.blocking_requests import mark_under_way
from reference_backend.nbd.settings import Bytes, Features
from reference_backend.vhost_user.front_end import Config, FrontEnd, Limits, limits_of
from reference_backend.vhost_user.messages import Feature, MessageError
from reference_backend.vhost_user.requests import (
    RANGE,
    UNMAP,
    Kind,
    Pending,
    Requests,
    Status,
    pieces_of,
    queue_count,
)

SECTOR = 512
PAGE = 4096
REQUEST_MAX = 4 << 20
"""Longest request in bytes. Guests send less."""
_QUEUES = 2
_QUEUE_SIZE = 128
_STATUS: dict[int, tuple[int, str]] = {
    Status.IOERR: (errno.EIO, "VIRTIO_BLK_S_IOERR"),
    Status.UNSUPP: (errno.ENOTSUP, "VIRTIO_BLK_S_UNSUPP"),
}


class VhostUserDisk:
    """The disk of a daemon; implements ``nbd.settings.Device``.

    It connects when it is used, and `leave_if_idle` disconnects: many daemons serve one front end
    at a time, and a guest is one too.

    :param path: the Unix socket of the daemon.
    :param seed: of the choice of segments and queues. Guests choose both by chance too.
    :param on_failure: called with the reason when the daemon broke a rule, or went away.
    """

    def __init__(self, path: str, seed: int, on_failure: Callable[[str], None]) -> None:
        self._path = path
        self._on_failure = on_failure
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._is_stale = threading.Event()
        self._requests: Requests | None = None
        self._config: Config | None = None
        self._features = 0
        self._last_use = 0.0
        self._users = 0
        """Threads between `connect` and their request: the front end must not leave."""

    def connect(self) -> Requests:
        """Return the running queues; connect to the daemon first if necessary.

        :raise MessageError: the daemon broke the protocol.
        :raise OSError: there is no connection.
        """
        with self._lock:
            self._last_use = time.monotonic()
            if self._requests is None:
                front_end = FrontEnd(self._path)
                try:
                    self._config = front_end.config()
                    count = queue_count(front_end, self._config, _QUEUES)
                    self._requests = Requests(front_end, count, _QUEUE_SIZE, self._on_failure)
                except BaseException:
                    front_end.close()
                    raise
                self._features = front_end.features
                front_end.on_config_change = self._is_stale.set
            return self._requests

    def leave_if_idle(self, idle_s: float) -> None:
        """Disconnect if nothing used the disk for ``idle_s`` seconds; notice a lost daemon."""
        with self._lock:
            if self._requests is None:
                return
            if self._requests.front_end.is_lost():
                reason = "the vhost-user daemon ended the connection"
                self._requests.fail(reason)
                self._on_failure(reason)
            elif (
                not self._users
                and time.monotonic() - self._last_use > idle_s
                and not self._requests.outstanding()
            ):
                self._disconnect()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[Requests]:
        """Yield the running queues. On a busy machine, a request may come late after `connect`."""
        with self._lock:
            self._users += 1
        try:
            yield self.connect()
        finally:
            with self._lock:
                self._users -= 1

    def close(self) -> None:
        """End the connection to the daemon; requests in flight fail."""
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._requests is not None:
            self._requests.close()
            self._requests.front_end.close()
        self._requests = None

    # -- what the server offers

    def features(self) -> Features:
        """Return what the NBD server can offer of this disk. It was connected once."""
        has = self._has
        return Features(
            fua=False, flush=has(Feature.FLUSH), trim=has(Feature.DISCARD),
            write_zeroes=has(Feature.WRITE_ZEROES), fast_zero=False, cache=False,
            block_status=False, dirty=False,
        )  # fmt: skip

    @property
    def config(self) -> Config:
        """The configuration space that the daemon told last."""
        if self._config is None or self._is_stale.is_set():
            self._is_stale.clear()
            self.refresh()
        assert self._config is not None
        return self._config

    @property
    def size(self) -> int:
        """Return the current size in bytes."""
        return self.config.capacity * SECTOR

    def refresh(self) -> None:
        """Ask the daemon for its configuration again.

        :raise BlockError: the daemon does not answer.
        """
        try:
            with self._in_use() as requests:
                self._config = requests.front_end.config()
        except (MessageError, OSError) as error:
            raise BlockError(errno.EIO, str(error)) from error

    @property
    def read_only(self) -> bool:
        """Return whether the daemon offers VIRTIO_BLK_F_RO."""
        return self._has(Feature.RO)

    @property
    def block_sizes(self) -> tuple[int, int, int]:
        """Return minimum, preferred and maximum request size in bytes."""
        limits = self._limits()
        minimum = limits.block
        longest = min(REQUEST_MAX, limits.segments * limits.segment_bytes)
        longest = max(minimum, longest // minimum * minimum)
        preferred = max(PAGE, minimum)
        if self._has(Feature.TOPOLOGY):
            preferred = max(preferred, minimum << min(self.config.physical_block_exp, 8))
        while preferred > longest:
            preferred //= 2
        return minimum, max(preferred, minimum), longest

    # -- requests

    def read(self, offset: int, length: int) -> Bytes:
        """Return ``length`` bytes."""
        pending = self._start(Kind.READ, offset, reads=length)
        return self._result(pending, "read")

    def write(self, offset: int, data: Bytes, fua: bool = False) -> None:
        """Replace bytes. ``fua`` is never set, because it is not offered."""
        del fua
        self._result(self._start(Kind.WRITE, offset, bytes(data)), "write")

    def write_zeroes(
        self,
        offset: int,
        length: int,
        no_hole: bool = False,
        fast_zero: bool = False,
        fua: bool = False,
    ) -> None:
        """Make a range read as zeroes; ``no_hole`` leaves out the flag that permits to unmap."""
        del fast_zero, fua
        config = self.config
        flags = 0 if no_hole or not config.write_zeroes_may_unmap else UNMAP
        most = config.max_write_zeroes_sectors
        for ranges in _batches(offset, length, most, 1, flags):
            self._result(self._start(Kind.WRITE_ZEROES, 0, ranges), "write zeroes")

    def discard(self, offset: int, length: int, fua: bool = False) -> None:
        """Discard a range, in as many segments and requests as the daemon's limits need."""
        del fua
        config = self.config
        for ranges in _batches(offset, length, config.max_discard_sectors, config.max_discard_seg):
            self._result(self._start(Kind.DISCARD, 0, ranges), "discard")

    def flush(self) -> None:
        """Make all acknowledged writes durable."""
        self._result(self._start(Kind.FLUSH, 0), "flush")

    def cache(self, offset: int, length: int) -> None:
        """Refuse: virtio-blk has no such request."""
        _refuse("cache", offset, length)

    def block_status(self, offset: int, length: int) -> Sequence[Extent]:
        """Refuse: virtio-blk has no such request."""
        _refuse("block status", offset, length)

    def dirty_status(self, offset: int, length: int) -> Sequence[Extent]:
        """Refuse: virtio-blk has no such request."""
        _refuse("block status", offset, length)

    def _start(self, kind: Kind, offset: int, data: bytes = b"", reads: int = 0) -> Pending:
        try:
            limits = self._limits()  # may ask the daemon, so not under the lock
            with self._in_use() as requests:
                pieces: list[int] = []
                with self._lock:
                    queue = self._random.randrange(len(requests.queues))
                    longest = limits.segment_bytes
                    piece = min(self._random.choice((PAGE, longest, SECTOR)), longest)
                    indirect = self._has(Feature.INDIRECT_DESC) and self._random.random() < 0.5
                if kind in {Kind.READ, Kind.WRITE}:
                    pieces = pieces_of(len(data) + reads, piece, limits.segments)
                pending = requests.send(
                    kind, offset // SECTOR, data, reads,
                    pieces=pieces, indirect=indirect, queue=queue,
                )  # fmt: skip
            how = ", by an indirect table" if indirect else ""
            pending.shape = f"{len(pieces) or 1} segments{how}, queue {queue}"
        except (MessageError, OSError) as error:
            raise BlockError(errno.ESHUTDOWN, str(error)) from error
        mark_under_way()
        return pending

    def _result(self, pending: Pending, what: str) -> bytes:
        """Wait for a request; return the data that the daemon wrote.

        :raise BlockError: it failed, or the daemon is gone.
        """
        pending.done.wait()
        if pending.failure is not None:  # its memory is not given back: the daemon may still write
            raise BlockError(errno.ESHUTDOWN, pending.failure)
        status, data = pending.status(), pending.data()
        pending.free()
        if status == Status.OK:
            return data
        if status not in _STATUS:
            wrong = "no status" if status == Status.UNWRITTEN else f"status {status:#04x}"
            reason = f"the daemon completed a {what} with {wrong} ({pending.shape})"
            self._on_failure(reason)
            raise BlockError(errno.EIO, reason)
        number, name = _STATUS[status]
        raise BlockError(number, f"{what}: {name}")

    def _has(self, feature: Feature) -> bool:
        return bool(self._features & feature)

    def _limits(self) -> Limits:
        return limits_of(self.config, self._features, _QUEUE_SIZE, REQUEST_MAX)


def _batches(offset: int, length: int, most: int, segments: int, flags: int = 0) -> list[bytes]:
    """Return the payloads of requests for a range, each with up to ``segments`` parts.

    :param most: sectors of a part; 0 means that the daemon names no limit.
    """
    sectors, step = length // SECTOR, most or 0x7FFFFFFF // SECTOR
    first = offset // SECTOR
    parts = [
        RANGE.pack(first + at, min(step, sectors - at), flags) for at in range(0, sectors, step)
    ]
    many = max(1, segments)
    return [b"".join(parts[at : at + many]) for at in range(0, len(parts), many)]


def _refuse(what: str, offset: int, length: int) -> NoReturn:
    raise BlockError(errno.ENOTSUP, f"{what} at {offset}, {length} bytes: virtio-blk has none")
