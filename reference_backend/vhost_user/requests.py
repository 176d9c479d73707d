"""Requests of virtio-blk on running queues, and how they complete (VIRTIO 1.2, section 5.2.6).

A request is a chain of descriptors: a header of 16 bytes, the data in any number of segments, and
the status byte.
"""

from __future__ import annotations

import enum
import os
import struct
import threading
from collections.abc import Callable, Sequence

from reference_backend.vhost_user.front_end import Config, FrontEnd, kick, wait_for_call
from reference_backend.vhost_user.messages import Feature, MessageError
from reference_backend.vhost_user.ring import RingError, Segment

HEADER = struct.Struct("<IIQ")
"""Type, reserved, sector."""
RANGE = struct.Struct("<QII")
"""Sector, number of sectors, flags of a discard or write zeroes."""
UNMAP = 1
ID_BYTES = 20
_UNWRITTEN = 0xFF
_STATUS, _TABLE = 32, 64
"""Offsets in the memory of a request: its header is first, its data begins on a page of its own."""
_CHECK_S = 1.0
"""Seconds between two checks whether the queue was closed."""
_PATIENCE = 15
"""Checks without an interrupt after which the queue is checked."""
_AT_ONCE_S = 0.1
"""Seconds within which a daemon continues that had only missed a kick."""


class Kind(enum.IntEnum):
    """Types of requests."""

    READ = 0
    WRITE = 1
    FLUSH = 4
    GET_ID = 8
    DISCARD = 11
    WRITE_ZEROES = 13


class Status(enum.IntEnum):
    """What the daemon writes in the last byte."""

    OK = 0
    IOERR = 1
    UNSUPP = 2
    UNWRITTEN = _UNWRITTEN


class Pending:
    """One request on its way.

    :param to_daemon: bytes behind the header, for the daemon.
    :param from_daemon: length of the data that the daemon writes, in bytes.
    """

    def __init__(self, requests: Requests, to_daemon: int, from_daemon: int, table: int) -> None:
        self._memory = requests.front_end.memory
        self.from_daemon = from_daemon
        self._data = -(-(_TABLE + 16 * table) // 4096) * 4096
        self._length = self._data + to_daemon + from_daemon
        self.offset = self._memory.take(self._length)
        self.status_offset = self.offset + _STATUS
        self._memory.map[self.status_offset] = _UNWRITTEN
        self.done = threading.Event()
        self.written = 0
        """Bytes that the daemon says it wrote."""
        self.queue = 0
        """The number of the queue that it was sent on."""
        self.shape = ""
        """What a message says of its segments."""
        self.failure: str | None = None
        """Why there is no status: the daemon ended, or broke a rule."""

    @property
    def data_offset(self) -> int:
        """Offset of the data in the shared memory."""
        return self.offset + self._data

    @property
    def table(self) -> int:
        """Offset of the room for a table of indirect descriptors."""
        return self.offset + _TABLE

    def status(self) -> int:
        """Return the status byte; `Status.UNWRITTEN` if the daemon has not written it."""
        return self._memory.map[self.status_offset]

    def data(self) -> bytes:
        """Return what the daemon wrote."""
        return self._memory.map[self.data_offset : self.data_offset + self.from_daemon]

    def free(self) -> None:
        """Give the memory back. Never before the daemon has used the request, or is gone."""
        self._memory.give_back(self.offset, self._length)


class Requests:
    """Queues of a front end, each with a thread that takes completions.

    :param queues: how many; at most as many as the daemon has.
    :param size: descriptors of a queue.
    :param on_failure: called once with the reason when the daemon broke a rule of the ring.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        queues: int = 1,
        size: int = 128,
        on_failure: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self.front_end = front_end
        self.size = size
        self._on_failure = on_failure
        self._pending: list[dict[int, Pending]] = [{} for _ in range(queues)]
        self._changed = threading.Condition()
        self.failure: str | None = None
        self._closed = False
        self.queues = [front_end.start_queue(size) for _ in range(queues)]
        self._threads = [
            threading.Thread(target=self._complete, args=(number,), daemon=True)
            for number in range(queues)
        ]
        for thread in self._threads:
            thread.start()

    def send(
        self,
        kind: int,
        sector: int = 0,
        data: bytes = b"",
        reads: int = 0,
        *,
        pieces: Sequence[int] = (),
        indirect: bool = False,
        queue: int = 0,
    ) -> Pending:
        """Make a request available, and kick the daemon if it wants that.

        :param sector: in units of 512 bytes.
        :param data: what the daemon reads behind the header.
        :param reads: bytes of data that the daemon writes.
        :param pieces: lengths of the segments of data, together its length; one if empty.
        :param indirect: use a table of indirect descriptors.

        :raise MessageError: the daemon is gone.
        """
        pieces = pieces or ([len(data) + reads] if data or reads else [])
        pending = Pending(self, len(data), reads, len(pieces) + 2)
        memory = self.front_end.memory.map
        HEADER.pack_into(memory, pending.offset, kind, 0, sector)
        at = pending.data_offset
        memory[at : at + len(data)] = data
        segments = [Segment(pending.offset, HEADER.size, to_driver=False)]
        for length in pieces:
            segments.append(Segment(at, length, to_driver=bool(reads)))
            at += length
        segments.append(Segment(pending.status_offset, 1, to_driver=True))
        self.submit(pending, segments, indirect=indirect, queue=queue)
        return pending

    def submit(
        self,
        pending: Pending,
        segments: Sequence[Segment],
        *,
        indirect: bool,
        queue: int,
        direct: int = 0,
        backwards: bool = False,
    ) -> None:
        """Make a request with these descriptors available; wait while the ring is full.

        :param direct: with ``indirect``, how many segments come before the table.
        :param backwards: with ``indirect``, whether the table is in the opposite order.

        :raise MessageError: the daemon is gone.
        """
        one, pending.queue = self.queues[queue], queue
        needed = direct + 1 if indirect else len(segments)
        with self._changed:
            while not self.failure and one.ring.room() < needed:
                self._changed.wait()
            if self.failure:
                pending.free()
                raise MessageError(self.failure)
            table = pending.table if indirect else None
            head = one.ring.add(segments, indirect=table, direct=direct, backwards=backwards)
            self._pending[queue][head] = pending
            if one.ring.must_notify(1):
                kick(one)

    def outstanding(self) -> int:
        """Return how many requests are not complete."""
        with self._changed:
            return sum(map(len, self._pending))

    def fail(self, reason: str) -> None:
        """End all requests, and refuse new ones."""
        with self._changed:
            if self.failure is None:
                self.failure = reason
            for table in self._pending:
                for pending in table.values():
                    pending.failure = reason
                    pending.done.set()
                table.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop taking completions; the front end can then be closed."""
        self._closed = True
        self.fail("the front end was closed")
        for queue in self.queues:
            os.eventfd_write(queue.call, 1)  # wakes the thread
        for thread in self._threads:
            thread.join()

    def _complete(self, number: int) -> None:
        queue = self.queues[number]
        while not self._closed:
            queue.ring.expect_interrupt()
            try:
                found = self._finish(number)
            except RingError as error:
                self._on_failure(str(error))
                self.fail(str(error))
                return
            checks = 0
            while not found and not self._closed:
                found = wait_for_call(queue, _CHECK_S)  # as a guest: without it, nobody looks
                checks = checks + 1 if self._pending[number] else 0
                if not found and checks == _PATIENCE and self._is_stuck(number):
                    return

    def _is_stuck(self, number: int) -> bool:
        """Return whether an interrupt or a kick was lost. If so, end all requests.

        A slow daemon breaks no rule, and is waited for.
        """
        queue = self.queues[number]
        reason = "the used ring has a request for which no interrupt came"
        if not queue.ring.used_count():
            kick(queue)
            if not wait_for_call(queue, _AT_ONCE_S):
                return False
            os.eventfd_write(queue.call, 1)  # taken again by who waits
            reason = queue.ring.why_a_kick_helped()
            if self._closed or not queue.ring.used_count():
                return False
        reason = f"queue {number}: {reason}"
        self._on_failure(reason)
        self.fail(reason)
        return True

    def _finish(self, number: int) -> bool:
        """Take completions; return whether there were any.

        A descriptor that is freed may be used again at once, so both happen under the lock.
        """
        with self._changed:
            used = self.queues[number].ring.pop()
            for one in used:
                pending = self._pending[number].pop(one.head, None)
                if pending is not None:
                    pending.written = one.written
                    pending.done.set()
            self._changed.notify_all()
        return bool(used)


def pieces_of(length: int, piece: int, most: int) -> list[int]:
    """Return lengths of segments for ``length`` bytes: each ``piece``, at most ``most`` of them.

    With too many, the pieces are longer, in steps of 512 bytes.
    """
    if not length:
        return []
    piece = max(piece, -(-length // most))
    piece = -(-piece // 512) * 512
    return [min(piece, length - at) for at in range(0, length, piece)]


def queue_count(front_end: FrontEnd, config: Config, wanted: int) -> int:
    """Return how many queues to use: at most as many as the daemon has (section 5.2.4)."""
    if not front_end.features & Feature.MQ:
        return 1
    return max(1, min(wanted, config.num_queues, front_end.most_queues))
