"""One connection to a vhost-user-blk daemon: handshake, features, memory, rings, configuration.

The order of the messages is that of QEMU (hw/virtio/vhost-user.c, hw/block/vhost-user-blk.c).
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from reference_backend.vhost_user import messages as m
from reference_backend.vhost_user.memory import GUEST_BASE, USER_BASE, SharedMemory
from reference_backend.vhost_user.messages import Code, Feature, Message, MessageError
from reference_backend.vhost_user.messages import ProtocolFeature as P
from reference_backend.vhost_user.ring import Ring

WANTED = (
    Feature.SIZE_MAX | Feature.SEG_MAX | Feature.RO | Feature.BLK_SIZE | Feature.FLUSH
    | Feature.TOPOLOGY | Feature.MQ | Feature.DISCARD | Feature.WRITE_ZEROES
    | Feature.INDIRECT_DESC | Feature.EVENT_IDX | Feature.PROTOCOL_FEATURES | Feature.VERSION_1
)  # fmt: skip
"""Features that a front end accepts if the daemon offers them. Without CONFIG_WCE, FLUSH means a
write-back cache (VIRTIO 1.2, section 5.2.6.2)."""
WANTED_PROTOCOL = P.MQ | P.REPLY_ACK | P.BACKEND_REQ | P.CONFIG | P.INFLIGHT_SHMFD
CONFIG_BYTES = 60
"""Bytes of struct virtio_blk_config up to the fields of WRITE_ZEROES (section 5.2.4)."""
_MEMORY_BYTES = 256 << 20
REPLY_S = 30.0
"""Seconds within which a daemon must answer a message."""
CONFIG = struct.Struct("<QIIHBBIBBHIBxHIIIIIB")


class Config(NamedTuple):
    """The configuration space of virtio-blk (VIRTIO 1.2, section 5.2.4); sectors of 512 bytes.

    A field has a meaning only if its feature was negotiated.
    """

    capacity: int
    size_max: int
    seg_max: int
    cylinders: int
    heads: int
    sectors: int
    blk_size: int
    physical_block_exp: int
    alignment_offset: int
    min_io_size: int
    opt_io_size: int
    wce: int
    num_queues: int
    max_discard_sectors: int
    max_discard_seg: int
    discard_sector_alignment: int
    max_write_zeroes_sectors: int
    max_write_zeroes_seg: int
    write_zeroes_may_unmap: int


class Limits(NamedTuple):
    """What a request may be, by the configuration of a daemon (VIRTIO 1.2, section 5.2.4)."""

    block: int
    """Bytes of the smallest request: a sector, or the block that the daemon names."""
    segments: int
    """Most segments of data. A chain is never longer than the queue (section 2.7.5.3.1)."""
    segment_bytes: int
    """Most bytes of a segment, a multiple of 512."""


def limits_of(config: Config, features: int, queue_size: int, longest: int) -> Limits:
    """Return the limits for requests on a queue of ``queue_size`` descriptors.

    :param longest: the limit of a segment in bytes, where the daemon names none.
    """
    block = config.blk_size if features & Feature.BLK_SIZE else 0
    segments = (config.seg_max or 1) if features & Feature.SEG_MAX else queue_size
    if features & Feature.SIZE_MAX and config.size_max:
        longest = min(longest, config.size_max)
    sector = 512
    return Limits(
        max(sector, block),
        min(segments, queue_size - 2),
        max(sector, longest // sector * sector),
    )


class Queue(NamedTuple):
    """A ring with its two eventfds."""

    front_end: FrontEnd
    ring: Ring
    kick: int
    call: int


class FrontEnd:
    """A connection to a daemon, up to running queues.

    :param path: the Unix socket of the daemon.
    :param features: the features to accept, of those that the daemon offers.
    :param protocol: the same for features of the protocol.
    :param memory: what the daemon shares; by default 256 MiB, which end with the connection.

    :raise MessageError: the daemon broke the protocol.
    :raise OSError: there is no connection.
    """

    def __init__(
        self,
        path: str,
        *,
        features: int = WANTED,
        protocol: int = WANTED_PROTOCOL,
        memory: SharedMemory | None = None,
    ) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.queues: list[Queue] = []
        self.on_config_change: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._owned = memory is None
        self.memory = memory or SharedMemory(_MEMORY_BYTES)
        self._back: socket.socket | None = None
        self.protocol = 0
        try:
            self.socket.settimeout(REPLY_S)
            self.socket.connect(path)
            self.offered = self.ask_u64(Code.GET_FEATURES)
            self.features = self.offered & features
            if self.offered & Feature.PROTOCOL_FEATURES:
                accepted = self.ask_u64(Code.GET_PROTOCOL_FEATURES) & protocol
                self.send_u64(Code.SET_PROTOCOL_FEATURES, accepted)
                self.protocol = accepted  # only from here on may a message ask for a reply
            self.most_queues = self.ask_u64(Code.GET_QUEUE_NUM) if self.protocol & P.MQ else 1
            self.send(Code.SET_OWNER)
            self.send_u64(Code.SET_FEATURES, self.features)
            self.send_regions(self.memory, 1)
            if self.protocol & P.BACKEND_REQ:
                self._listen_to_back_end()
        except BaseException:
            self.close()
            raise

    # -- messages

    def send(self, code: int, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a message that has no reply, and wait for its acknowledgement where there is one.

        :raise MessageError: the daemon reported a failure, or ended the connection.
        """
        acknowledged = bool(self.protocol & P.REPLY_ACK)
        with self._lock:
            self._send(Message(code, payload, m.NEED_REPLY if acknowledged else 0), fds)
            if not acknowledged:
                return
            reply, _ = self._receive(code)
        if len(reply) != m.U64.size:
            msg = f"{m.name_of(code)}: an acknowledgement of {len(reply)} bytes"
            raise MessageError(msg)
        (result,) = m.U64.unpack(reply)
        if result:
            msg = f"{m.name_of(code)}: the daemon answered {result}, which means a failure"
            raise MessageError(msg)

    def send_u64(self, code: int, value: int, fds: Sequence[int] = ()) -> None:
        """Send a message with one number."""
        self.send(code, m.U64.pack(value), fds)

    def ask(self, code: int, payload: bytes = b"") -> tuple[bytes, list[int]]:
        """Send a message that has a reply; return its payload and descriptors.

        :raise MessageError: the reply is of another kind, or there is none.
        """
        with self._lock:
            self._send(Message(code, payload), ())
            return self._receive(code)

    def ask_u64(self, code: int) -> int:
        """Return the number that the daemon answers.

        :raise MessageError: the reply does not have 8 bytes.
        """
        reply, _ = self.ask(code)
        if len(reply) != m.U64.size:
            msg = f"{m.name_of(code)}: a reply of {len(reply)} bytes, and not {m.U64.size}"
            raise MessageError(msg)
        return int(m.U64.unpack(reply)[0])

    def send_regions(self, memory: SharedMemory, count: int) -> None:
        """Tell the daemon which memory there is, as ``count`` regions of one file."""
        step = memory.size // count
        payload = m.REGIONS_HEAD.pack(count, 0)
        for start in range(0, step * count, step):
            payload += m.REGION.pack(GUEST_BASE + start, step, USER_BASE + start, start)
        self.send(Code.SET_MEM_TABLE, payload, [memory.fd] * count)

    def config(self) -> Config:
        """Return the configuration space.

        :raise MessageError: the daemon has no such message, or refused it.
        """
        return Config(*CONFIG.unpack(self.part_of_config(0, CONFIG_BYTES)[: CONFIG.size]))

    def part_of_config(self, offset: int, length: int) -> bytes:
        """Return bytes of the configuration space.

        :raise MessageError: the daemon has no such message, or refused it.
        """
        if not self.protocol & P.CONFIG:
            msg = "the daemon does not offer the protocol feature CONFIG, which tells the size"
            raise MessageError(msg)
        head = m.CONFIG_HEAD.pack(offset, length, 0)
        reply, _ = self.ask(Code.GET_CONFIG, head + bytes(length))
        data = reply[m.CONFIG_HEAD.size :]
        if len(data) != length:
            msg = f"GET_CONFIG: a reply with {len(data)} bytes, and not {length}"
            raise MessageError(msg)
        return data

    def new_inflight(self, queues: int, size: int) -> tuple[bytes, int]:
        """Ask for an area that remembers requests in flight; return its description and file.

        It needs the protocol feature INFLIGHT_SHMFD. The request has 24 bytes, as QEMU sends it;
        the document describes 20.

        :raise MessageError: the reply has no file.
        """
        asked = m.INFLIGHT.pack(0, 0, queues, size) + bytes(4)
        reply, fds = self.ask(Code.GET_INFLIGHT_FD, asked)
        if len(fds) != 1:
            msg = f"GET_INFLIGHT_FD: a reply with {len(fds)} descriptors, and not 1"
            raise MessageError(msg)
        return reply, fds[0]

    def set_inflight(self, description: bytes, fd: int) -> None:
        """Give the daemon an area that `new_inflight` returned, before queues are started."""
        self.send(Code.SET_INFLIGHT_FD, description, [fd])

    def set_write_cache(self, on: bool) -> None:
        """Switch the write cache of the disk (VIRTIO 1.2, 5.2.5: the field `writeback`).

        It needs the feature CONFIG_WCE, and the protocol feature CONFIG.
        """
        self.send(Code.SET_CONFIG, m.CONFIG_HEAD.pack(m.WRITEBACK_OFFSET, 1, 0) + bytes((on,)))

    def add_region(self, memory: SharedMemory, guest: int, skip: int) -> None:
        """Add the part of a file from byte ``skip`` on as one more region at a guest address."""
        region = m.REGION.pack(guest, memory.size - skip, guest, skip)
        self.send(Code.ADD_MEM_REG, m.U64.pack(0) + region, [memory.fd])

    def remove_region(self, memory: SharedMemory, guest: int, skip: int) -> None:
        """Remove a region that `add_region` added."""
        region = m.REGION.pack(guest, memory.size - skip, guest, skip)
        self.send(Code.REM_MEM_REG, m.U64.pack(0) + region)

    # -- queues

    def start_queue(self, size: int, *, start: int = 0) -> Queue:
        """Set up and enable the next queue.

        :param size: descriptors, a power of two.
        :param start: the first index of its rings.

        :raise MessageError: the daemon refused.
        """
        event_idx = bool(self.features & Feature.EVENT_IDX)
        ring = Ring(self.memory, size, event_idx=event_idx, start=start)
        return self.start_ring(ring, start)

    def start_ring(self, ring: Ring, base: int, *, index: int | None = None) -> Queue:
        """Start a queue with a ring, maybe one that was used before.

        :param base: the index from which the daemon takes available requests.
        :param index: the number of a queue that was stopped; by default the next one.
        """
        flags = os.EFD_CLOEXEC | os.EFD_NONBLOCK
        queue = Queue(self, ring, os.eventfd(0, flags), os.eventfd(0, flags))
        index = len(self.queues) if index is None else index
        for old in self.queues[index : index + 1]:
            os.close(old.kick)
            os.close(old.call)
        self.queues[index : index + 1] = [queue]
        self.send(Code.SET_VRING_NUM, m.VRING_STATE.pack(index, ring.size))
        self.send(Code.SET_VRING_BASE, m.VRING_STATE.pack(index, base))
        self.send(Code.SET_VRING_ADDR, m.VRING_ADDRESS.pack(index, 0, *ring.addresses(), 0))
        self.send_u64(Code.SET_VRING_CALL, index, [queue.call])
        self.send_u64(Code.SET_VRING_KICK, index, [queue.kick])
        if self.features & Feature.PROTOCOL_FEATURES:
            self.send(Code.SET_VRING_ENABLE, m.VRING_STATE.pack(index, 1))
        kick(queue)  # as QEMU: until the daemon has looked once, it has not said when to notify it
        return queue

    def stop_queue(self, index: int) -> int:
        """Stop a queue; return the index of the available ring at which the daemon stopped.

        Requests that it had taken are complete when it answers.

        :raise MessageError: the reply is of another queue.
        """
        reply, _ = self.ask(Code.GET_VRING_BASE, m.VRING_STATE.pack(index, 0))
        found, base = m.VRING_STATE.unpack(reply[: m.VRING_STATE.size])
        if found != index:
            msg = f"GET_VRING_BASE of queue {index}: the reply is about queue {found}"
            raise MessageError(msg)
        return int(base)

    def is_lost(self) -> bool:
        """Return whether the daemon ended the connection: it never speaks without being asked."""
        if not self._lock.acquire(blocking=False):
            return False  # a message is under way, and notices
        try:
            ready, _, _ = select.select([self.socket], [], [], 0)
            if not ready:
                return False
            return not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        if self._back is not None:
            with contextlib.suppress(OSError):
                self._back.shutdown(socket.SHUT_RDWR)
        for queue in self.queues:
            os.close(queue.kick)
            os.close(queue.call)
        self.queues.clear()
        if self._owned:
            self.memory.close()

    def _send(self, message: Message, fds: Sequence[int]) -> None:
        extra = []
        if fds:
            extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        try:
            self.socket.sendmsg([m.encode(message)], extra)
        except OSError as error:
            self._lost(message.code, error)

    def _receive(self, code: int) -> tuple[bytes, list[int]]:
        try:
            head, fds = receive_exactly(self.socket, m.HEADER.size)
            found, flags, size = m.decode_head(head)
            payload, more = receive_exactly(self.socket, size)
        except (OSError, EOFError) as error:
            self._lost(code, error)
        if found != code or not flags & m.REPLY:
            kind = "reply" if flags & m.REPLY else "request"
            msg = f"{m.name_of(code)}: the daemon sent a {kind} {m.name_of(found)} instead"
            raise MessageError(msg)
        return payload, fds + more

    def _lost(self, code: int, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            msg = f"{m.name_of(code)}: the daemon did not answer for {REPLY_S:g} s"
        else:
            msg = f"{m.name_of(code)}: the daemon ended the connection"
        raise MessageError(msg) from error

    def _listen_to_back_end(self) -> None:
        self._back, theirs = socket.socketpair()
        with theirs:
            self.send(Code.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        threading.Thread(target=self._back_end_requests, daemon=True).start()

    def _back_end_requests(self) -> None:
        """Receive what the daemon asks for; only a change of the configuration means something."""
        assert self._back is not None
        with contextlib.suppress(OSError, EOFError, MessageError), self._back:
            while True:
                head, _ = receive_exactly(self._back, m.HEADER.size)
                code, flags, size = m.decode_head(head)
                receive_exactly(self._back, size)
                if code == m.BackEndCode.CONFIG_CHANGE_MSG and self.on_config_change:
                    self.on_config_change()
                if flags & m.NEED_REPLY:
                    self._back.sendall(m.encode(Message(code, m.U64.pack(0), m.REPLY)))


def kick(queue: Queue) -> None:
    """Tell the daemon that there are new requests."""
    os.eventfd_write(queue.kick, 1)


def wait_for_call(queue: Queue, timeout_s: float) -> bool:
    """Wait for an interrupt of the daemon; return whether there was one within the time."""
    ready, _, _ = select.select([queue.call], [], [], timeout_s)
    if not ready:
        return False
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(queue.call)
    return True


def receive_exactly(sock: socket.socket, length: int) -> tuple[bytes, list[int]]:
    """Return ``length`` bytes and the descriptors that came with them.

    :raise EOFError: the other side ended the connection.
    """
    data, fds = b"", array.array("i")
    while len(data) < length:
        part, extra, _, _ = sock.recvmsg(length - len(data), socket.CMSG_SPACE(8 * fds.itemsize))
        if not part:
            raise EOFError
        data += part
        for level, kind, raw in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
    return data, list(fds)
