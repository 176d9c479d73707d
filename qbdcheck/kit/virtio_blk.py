"""A driver of virtio-blk on a target's vhost-user daemon, for cases about queues and descriptors.

`VirtioBlk` is the front end of `reference_backend.vhost_user` on a disk with known contents: it
stamps its writes and judges its reads. Everything else a case sends as descriptors.

Many daemons serve one front end at a time. So no NBD client may use the disk meanwhile, and a case
closes a `VirtioBlk` before `disk.verify()`.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Self

from oracles.shadow import Shadow
from oracles.stamps import SECTOR, Data
from qbdcheck.clock import pause
from qbdcheck.errors import SetupError
from qbdcheck.kit.request_errors import RequestHangs, RequestLost
from qbdcheck.machine_speed import Limit, must_not_be_starved
from qbdcheck.programs.requests_sent import OK, note
from qbdcheck.targets import disk_io
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import WrongData
from qbdcheck.targets.placeholders import fill
from reference_backend.vhost_user.front_end import (
    CONFIG_BYTES,
    WANTED,
    WANTED_PROTOCOL,
    FrontEnd,
    Queue,
    kick,
    limits_of,
    wait_for_call,
)
from reference_backend.vhost_user.inflight import Inflight
from reference_backend.vhost_user.memory import GUEST_BASE, SharedMemory
from reference_backend.vhost_user.messages import (
    INFLIGHT,
    Code,
    Feature,
    MessageError,
    ProtocolFeature,
)
from reference_backend.vhost_user.requests import (
    HEADER,
    RANGE,
    UNMAP,
    Kind,
    Pending,
    Requests,
    Status,
    queue_count,
)
from reference_backend.vhost_user.ring import (
    DESCRIPTOR,
    USED_ELEMENT,
    Ring,
    RingError,
    Segment,
)

__all__ = [
    "CONFIG_BYTES",
    "DESCRIPTOR",
    "GUEST_BASE",
    "HEADER",
    "RANGE",
    "UNMAP",
    "USED_ELEMENT",
    "WANTED",
    "WANTED_PROTOCOL",
    "Code",
    "Feature",
    "FrontEnd",
    "Kind",
    "MessageError",
    "Pending",
    "ProtocolFeature",
    "Queue",
    "Ring",
    "RingError",
    "Segment",
    "SharedMemory",
    "Status",
    "VirtioBlk",
    "connect",
    "inflight_region",
    "kick",
    "longest_segment",
    "name_of",
    "polled",
    "queue_count",
    "send_one",
    "serves",
    "socket_of",
    "wait_for_call",
    "wait_lost",
    "wait_used",
    "wrong_data_after",
]

REPLY_LIMIT_S = 5.0
"""Seconds that a daemon may take for one request."""
_STEP_S, _CALL_S = 0.02, 0.1
_LONGEST = 1 << 20
"""Bytes of a segment where the daemon names no limit."""


def socket_of(disk: Disk) -> str:
    """Return the Unix socket of the daemon that serves a disk's volume."""
    backend = disk.backend
    text = backend.description.vhost_user
    assert text is not None, "the case requires vhost_user"
    return fill(text, backend.values())


def connect(
    disk: Disk,
    *,
    features: int = WANTED,
    protocol: int = WANTED_PROTOCOL,
    memory: SharedMemory | None = None,
) -> FrontEnd:
    """Return a front end without queues; try again while the daemon refuses connections.

    :raise MessageError: the daemon breaks the protocol.
    :raise SetupError: it does not accept a connection.
    """
    limit = Limit(REPLY_LIMIT_S)
    while True:
        try:
            return FrontEnd(socket_of(disk), features=features, protocol=protocol, memory=memory)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            if limit.is_over:
                msg = f"the vhost-user daemon does not accept connections: {error}"
                raise SetupError(msg) from error
            pause(_STEP_S)


def name_of(status: int) -> str:
    """Return the name of a status byte."""
    try:
        return f"VIRTIO_BLK_S_{Status(status).name}"
    except ValueError:
        return f"status {status:#04x}"


def judge(shadow: Shadow, offset: int, data: Data, what: str) -> None:
    """Compare the data of a read with the shadow, as `qbdcheck.targets.disk_io.judge`.

    The findings name the read: its buffers may be what is wrong, not the data of the place.

    :raise WrongData: the data is not one of the permitted contents.
    """
    with wrong_data_after(what):
        disk_io.judge(shadow, offset, data, what)


@contextlib.contextmanager
def wrong_data_after(what: str) -> Iterator[None]:
    """Let the findings of wrong data say what came before, or which read it was.

    :raise WrongData: as what is done meanwhile.
    """
    try:
        yield
    except WrongData as error:
        named_findings = [replace(one, request=one.request or what) for one in error.findings]
        raise WrongData(what, named_findings) from None


@contextlib.contextmanager
def named(what: str) -> Iterator[None]:
    """Name what is sent meanwhile, so that the death of the daemon names it as well."""
    sent = note(what)
    yield
    sent.result = OK


class VirtioBlk:
    """A driver with running queues on a disk. Offsets and lengths are in bytes.

    :param features: what to accept, of what the daemon offers.
    :param queues: how many queues; fewer if the daemon has fewer.
    :param size: descriptors of each, a power of two.

    :ivar block: bytes of the smallest request; ``most_segments`` and ``longest_segment`` limit the
        data of a request (VIRTIO 1.2, section 5.2.4).
    :ivar context: what messages say of each request that is not completed.
    """

    context = ""

    def __init__(
        self,
        disk: Disk,
        *,
        features: int = WANTED,
        protocol: int = WANTED_PROTOCOL,
        queues: int = 1,
        size: int = 128,
    ) -> None:
        self.disk = disk
        self.front_end = connect(disk, features=features, protocol=protocol)
        self.config = self.front_end.config()
        count = queue_count(self.front_end, self.config, queues)
        self.requests = Requests(self.front_end, count, size)
        limits = limits_of(self.config, self.front_end.features, size, _LONGEST)
        self.block, self.most_segments, self.longest_segment = limits
        self._lane = disk.shadow.history.new_lane("virtio-blk queue")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self.requests.close()
        self.front_end.close()

    def has(self, feature: Feature) -> bool:
        """Return whether a feature was negotiated."""
        return bool(self.front_end.features & feature)

    def finish(self, pending: Pending, what: str) -> int:
        """Wait for a request; return its status byte. The caller frees it.

        :raise RequestHangs: the daemon has not used it in time.
        :raise RequestLost: the daemon ended, or broke a rule of the ring.
        """
        limit, what = Limit(REPLY_LIMIT_S), what + self.context
        while not pending.done.wait(_STEP_S):
            if self.front_end.is_lost():
                self.requests.fail("the daemon ended the connection")
            if limit.is_over:
                self._must_interrupt(pending, what)
                if pending.done.is_set():
                    break
                must_not_be_starved(f"{what} was not completed within {REPLY_LIMIT_S:g} s")
                why = "the daemon has not completed it in time"
                queue = self.requests.queues[pending.queue]
                kick(queue)
                if pending.done.wait(_CALL_S):
                    why = queue.ring.why_a_kick_helped()
                raise RequestHangs(f"{what}: {why}")
        if pending.failure is not None:
            raise RequestLost(f"{what}: {pending.failure}")
        return pending.status()

    def _must_interrupt(self, pending: Pending, what: str) -> None:
        """Wait for the interrupt of a request that may be in the used ring already."""
        limit = Limit(REPLY_LIMIT_S)
        while any(one.ring.used_count() for one in self.requests.queues):
            if pending.done.wait(_STEP_S):
                return
            if limit.is_over:
                why = "the used ring has a request for which no interrupt came"
                raise RequestHangs(f"{what}: {why}")

    def write(
        self,
        offset: int,
        length: int,
        *,
        pieces: Sequence[int] = (),
        indirect: bool = False,
        queue: int = 0,
    ) -> None:
        """Write stamped data.

        :raise AssertionError: the daemon answers with an error.
        """
        shadow = self.disk.shadow
        shadow.history.lane = self._lane
        data = shadow.stamped(offset, length)
        pending = self.requests.send(
            Kind.WRITE, offset // SECTOR, data, pieces=pieces, indirect=indirect, queue=queue
        )
        what = f"a write of {length} bytes at {offset}{_shape(pieces, indirect)}"
        shadow.maybe_write(offset, data)
        self.must_succeed(pending, what)
        shadow.write(offset, data)

    def read(
        self,
        offset: int,
        length: int,
        *,
        pieces: Sequence[int] = (),
        indirect: bool = False,
        queue: int = 0,
        after: str = "",
    ) -> bytes:
        """Read, compare with the shadow, and return the bytes.

        :param after: what messages name instead of the read: the request that it judges.

        :raise AssertionError: the daemon answers with an error, or the data is wrong.
        """
        self.disk.shadow.history.lane = self._lane
        pending = self.requests.send(
            Kind.READ, offset // SECTOR, reads=length, pieces=pieces, indirect=indirect, queue=queue
        )
        what = f"a read of {length} bytes at {offset}{_shape(pieces, indirect)}"
        data = self.must_succeed(pending, what)
        judge(self.disk.shadow, offset, data, f"after {after}" if after else what)
        return data

    def judge(self, offset: int, data: bytes, what: str) -> None:
        """Compare data that was read in another way with the shadow."""
        judge(self.disk.shadow, offset, data, what)

    def flush(self) -> None:
        """Flush, where the daemon offers it."""
        if self.has(Feature.FLUSH):
            self.must_succeed(self.requests.send(Kind.FLUSH), "a flush")
            self.disk.shadow.flush()

    def must_succeed(self, pending: Pending, what: str) -> bytes:
        """Wait for a request that must succeed; return its data, and free it."""
        status = self.finish(pending, what)
        data = pending.data()
        written = pending.written
        pending.free()
        assert status == Status.OK, f"{what}: the daemon answers {name_of(status)}"
        most = pending.from_daemon + 1
        assert written <= most, (
            f"{what}: the used ring says that {written} bytes were written, into room for {most}"
        )
        return data

    def must_answer(
        self, what: str, kind: int, sector: int = 0, data: bytes = b"", reads: int = 0
    ) -> int:
        """Send a request that the daemon must complete in time; return the status."""
        pending = self.requests.send(kind, sector, data, reads)
        status = self.finish(pending, what)
        pending.free()
        return status

    def must_refuse(
        self,
        what: str,
        kind: int,
        sector: int = 0,
        data: bytes = b"",
        reads: int = 0,
        *,
        statuses: Sequence[Status] = (Status.IOERR, Status.UNSUPP),
    ) -> None:
        """Send a request that the daemon must refuse with one of some statuses."""
        status = self.must_answer(what, kind, sector, data, reads)
        wanted = " or ".join(name_of(one) for one in statuses)
        assert status in statuses, f"{what}: the daemon answers {name_of(status)}, not {wanted}"


def serves(disk: Disk) -> bool:
    """Return whether the daemon serves a new front end: it reads the first block."""
    try:
        with VirtioBlk(disk) as io:
            io.read(0, io.block)
    except (MessageError, RequestLost, SetupError):
        return False
    return True


@contextlib.contextmanager
def polled(front_end: FrontEnd, size: int, start: int = 0) -> Iterator[Queue]:
    """Yield a running queue without a thread: the case takes completions itself."""
    queue = front_end.start_queue(size, start=start)
    try:
        yield queue
    finally:
        front_end.close()


def wait_used(queue: Queue, count: int, what: str) -> list[int]:
    """Wait until the daemon has used ``count`` chains of a queue; return their heads in order.

    :raise RequestHangs: it has not in time, though it was idle.
    :raise RingError: it broke a rule of the ring.
    """
    limit = Limit(REPLY_LIMIT_S)
    heads: list[int] = []
    while True:
        queue.ring.expect_interrupt()
        found = queue.ring.pop()
        heads += [one.head for one in found]
        if len(heads) >= count:
            return heads
        if found:
            continue
        while not wait_for_call(queue, _CALL_S):  # as a guest: without it, nobody looks
            if limit.is_over and queue.ring.used_count():
                _must_interrupt(queue, what)
                break
            if limit.is_over:
                late = f"{what}: {len(heads)} of {count} requests were completed"
                must_not_be_starved(f"{late} in time")
                raise RequestHangs(f"{late}, and {_after_a_kick(queue)}")


def longest_segment(front_end: FrontEnd) -> int:
    """Return the most bytes of a segment that the daemon takes."""
    return limits_of(front_end.config(), front_end.features, 4, _LONGEST).segment_bytes


def inflight_region(description: bytes, fd: int, size: int) -> Inflight:
    """Return the region of the first queue in an area of `FrontEnd.new_inflight`.

    :param size: descriptors of a queue.
    """
    length, offset, _, _ = INFLIGHT.unpack_from(description)
    return Inflight(mmap.mmap(fd, offset + length), offset, size)


def wait_lost(front_end: FrontEnd) -> None:
    """Wait until the daemon has ended: from then on it writes nothing more.

    :raise SetupError: it lives on.
    """
    limit = Limit(REPLY_LIMIT_S)
    while not front_end.is_lost():
        if limit.is_over:
            must_not_be_starved("the daemon did not end in time after SIGKILL")
            raise SetupError("the daemon lives on after SIGKILL of the process that started it")
        pause(_STEP_S)


def send_one(  # noqa: PLR0917  # the fields of a request
    queue: Queue, kind: Kind, offset: int, at: int, length: int, what: str
) -> None:
    """Send one request, with its data anywhere in the memory, and wait for its success.

    :param offset: of the disk, in bytes.
    :param at: where the data is, from the guest address `GUEST_BASE` on.

    :raise AssertionError: the daemon answers with an error.
    """
    memory = queue.ring.memory
    head = memory.take(64)
    HEADER.pack_into(memory.map, head, kind, 0, offset // SECTOR)
    memory.map[head + 32] = Status.UNWRITTEN
    data = Segment(at, length, to_driver=kind == Kind.READ)
    first = Segment(head, HEADER.size, to_driver=False)
    queue.ring.add([first, data, Segment(head + 32, 1, to_driver=True)])
    if queue.ring.must_notify(1):
        kick(queue)
    wait_used(queue, 1, what)
    status = memory.map[head + 32]
    memory.give_back(head, 64)
    assert status == Status.OK, f"{what}: the daemon answers {name_of(status)}"


def _must_interrupt(queue: Queue, what: str) -> None:
    """Wait for the interrupt of requests that are in the used ring already.

    A daemon sends it at once, so even one on a starved machine does within this time.

    :raise RequestHangs: there was none.
    """
    limit = Limit(REPLY_LIMIT_S)
    while not wait_for_call(queue, _STEP_S):
        if limit.is_over:
            raise RequestHangs(f"{what}: the used ring has a request for which no interrupt came")


def _after_a_kick(queue: Queue) -> str:
    """Kick a daemon that has stopped; say whether that helped."""
    kick(queue)
    wait_for_call(queue, _CALL_S)
    return queue.ring.why_a_kick_helped() if queue.ring.used_count() else "no more"


def _shape(pieces: Sequence[int], indirect: bool) -> str:
    parts = f" in segments of {', '.join(map(str, pieces[:8]))} bytes" if len(pieces) > 1 else ""
    if len(pieces) > 8:
        parts += f" and {len(pieces) - 8} more"
    return parts + (", by an indirect table" if indirect else "")
