"""A vhost-user-blk server: it serves one volume to front ends, one after the other.

Everything that a message contains is checked. A front end that breaks a rule loses its connection,
and nobody else notices. Source: QEMU, docs/interop/vhost-user.rst.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from blockio.layers import Layer
from reference_backend.listener import listen
from reference_backend.nbd.settings import Device
from reference_backend.vhost_user import messages as m
from reference_backend.vhost_user.block_requests import (
    RANGE_SECTORS_MAX,
    RANGES_MAX,
    SECTOR,
    SEGMENTS_MAX,
    BlockRequests,
)
from reference_backend.vhost_user.device_ring import BadRing, Chain, DeviceRing, GuestMemory, Region
from reference_backend.vhost_user.front_end import CONFIG, CONFIG_BYTES, receive_exactly
from reference_backend.vhost_user.inflight import Inflight, new_area, region_bytes
from reference_backend.vhost_user.messages import Code, Feature, Message, MessageError
from reference_backend.vhost_user.messages import ProtocolFeature as P

QUEUES = 4
_QUEUE_MAX = 1024
_WORKERS = 8
"""Requests of a queue that are executed at the same time."""
_OFFERED = (
    Feature.SEG_MAX | Feature.BLK_SIZE | Feature.FLUSH | Feature.TOPOLOGY | Feature.MQ
    | Feature.DISCARD | Feature.WRITE_ZEROES | Feature.INDIRECT_DESC | Feature.EVENT_IDX
    | Feature.CONFIG_WCE | Feature.PROTOCOL_FEATURES | Feature.VERSION_1
)  # fmt: skip
_PROTOCOL = P.MQ | P.REPLY_ACK | P.BACKEND_REQ | P.CONFIG | P.INFLIGHT_SHMFD | P.CONFIGURE_MEM_SLOTS
_MEMORY_SLOTS = 32
_QUEUE_MASK = 0xFF
"""The number of a queue in SET_VRING_KICK and _CALL; a bit above it means no descriptor."""
_ENDS = (OSError, EOFError, ValueError, OverflowError, struct.error, MessageError, BadRing)
"""What ends the connection of a front end: it left, or what it sent is wrong."""


class BackEnd:
    """Listens on a Unix socket, and serves a volume.

    :param layers: those above the volume; the same as those of the NBD server.

    :raise ValueError: virtio-blk cannot express the size of the volume.
    """

    def __init__(self, path: str, device: Device, layers: Sequence[Layer]) -> None:
        if device.size % SECTOR:
            msg = f"--vhost-user: {device.size} bytes are no multiple of {SECTOR}"
            raise ValueError(msg)
        self._path, self._device, self._layers = path, device, layers
        self._listening: socket.socket | None = None
        self._sessions: set[Session] = set()
        self._stopped = False
        self._number = 0

    def start(self) -> None:
        """Listen, and serve in the background.

        :raise OSError: the path cannot be listened on.
        """
        self._listening = listen(self._path)
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, end the connections, remove the socket."""
        self._stopped = True
        if self._listening is not None:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108  # as in the server
        for session in tuple(self._sessions):
            session.shut()

    def _accept(self, listening: socket.socket) -> None:
        while not self._stopped:
            try:
                sock, _peer = listening.accept()
            except OSError:
                return
            self._number += 1
            session = Session(sock, self._device, self._layers, self._number)
            self._sessions.add(session)
            threading.Thread(target=self._serve, args=(session,), daemon=True).start()

    def _serve(self, session: Session) -> None:
        try:
            session.run()
        finally:
            self._sessions.discard(session)


class Vring:
    """The state of one queue, as the messages set it."""

    def __init__(self) -> None:
        self.size = self.base = 0
        self.addresses: tuple[int, int, int] | None = None
        self.kick = self.call = -1
        self.ring: DeviceRing | None = None
        self.worker: QueueWorker | None = None


class Session:
    """One front end."""

    def __init__(
        self, sock: socket.socket, device: Device, layers: Sequence[Layer], number: int
    ) -> None:
        self._sock, self._device = sock, device
        self._requests = BlockRequests(device, layers, number)
        self._memory = GuestMemory(())
        self._vrings = [Vring() for _ in range(QUEUES)]
        self._features = self._protocol = 0
        self._replied: list[int] = []
        """Descriptors that go with the reply to the present message."""
        self._inflight: tuple[mmap.mmap, int, int] | None = None
        """The area of requests in flight, its offset in the file, and the size of a queue."""

    def shut(self) -> None:
        """End the connection; its own thread notices."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Serve until the front end leaves, or breaks a rule."""
        with contextlib.suppress(*_ENDS), self._sock:
            while True:
                head, fds = receive_exactly(self._sock, m.HEADER.size)
                code, flags, size = m.decode_head(head)
                payload, more = receive_exactly(self._sock, size)
                self._handle(code, flags, payload, fds + more)
        for vring in self._vrings:
            self._stop(vring)
            for fd in (vring.kick, vring.call):
                if fd >= 0:
                    os.close(fd)

    def _handle(self, code: int, flags: int, payload: bytes, fds: list[int]) -> None:
        """Handle one message; close the descriptors that its handler has not taken.

        :raise MessageError: it is unknown, or wrong.
        """
        handler = self._handlers.get(code)
        try:
            if handler is None:
                msg = f"unknown {m.name_of(code)}"
                raise MessageError(msg)
            reply = handler(self, payload, fds)
            if reply is None and flags & m.NEED_REPLY and self._protocol & P.REPLY_ACK:
                reply = m.U64.pack(0)
            if reply is not None:
                message = m.encode(Message(code, reply, m.REPLY))
                socket.send_fds(self._sock, [message], self._replied)
        finally:
            for fd in (*fds, *self._replied):
                os.close(fd)
            self._replied.clear()

    # -- messages: each returns the payload of its reply, or None, and takes descriptors

    def _get_features(self, _payload: bytes, _fds: list[int]) -> bytes:
        return m.U64.pack(_OFFERED | (Feature.RO if self._device.read_only else 0))

    def _set_features(self, payload: bytes, _fds: list[int]) -> None:
        features = _number(payload)
        if features != self._features:  # without FLUSH, writes are durable (VIRTIO 1.2, 5.2.6.2)
            self._requests.write_through = not features & Feature.FLUSH
        self._features = features

    def _get_protocol_features(self, _payload: bytes, _fds: list[int]) -> bytes:
        return m.U64.pack(_PROTOCOL)

    def _set_protocol_features(self, payload: bytes, _fds: list[int]) -> None:
        self._protocol = _number(payload)

    def _set_owner(self, _payload: bytes, _fds: list[int]) -> None:
        pass

    def _get_queue_num(self, _payload: bytes, _fds: list[int]) -> bytes:
        return m.U64.pack(QUEUES)

    def _set_mem_table(self, payload: bytes, fds: list[int]) -> None:
        count, _ = m.REGIONS_HEAD.unpack_from(payload)
        if count != len(fds) or len(payload) < m.REGIONS_HEAD.size + count * m.REGION.size:
            msg = f"SET_MEM_TABLE: {count} regions with {len(fds)} descriptors"
            raise MessageError(msg)
        places = range(m.REGIONS_HEAD.size, len(payload), m.REGION.size)
        self._memory = GuestMemory(
            [_region(payload, at, fd) for at, fd in zip(places, fds, strict=False)]
        )

    def _get_max_mem_slots(self, _payload: bytes, _fds: list[int]) -> bytes:
        return m.U64.pack(_MEMORY_SLOTS)

    def _add_mem_reg(self, payload: bytes, fds: list[int]) -> None:
        if len(fds) != 1 or len(self._memory.regions) >= _MEMORY_SLOTS:
            msg = f"ADD_MEM_REG: {len(fds)} descriptors, {len(self._memory.regions)} regions"
            raise MessageError(msg)
        self._memory.add(_region(payload, m.U64.size, fds[0]))

    def _rem_mem_reg(self, payload: bytes, _fds: list[int]) -> None:
        guest, size, user, _ = m.REGION.unpack_from(payload, m.U64.size)
        self._memory.remove(guest, size, user)

    def _set_vring_num(self, payload: bytes, _fds: list[int]) -> None:
        vring, size = self._vring_state(payload)
        if not 0 < size <= _QUEUE_MAX or size & (size - 1):
            msg = f"SET_VRING_NUM: {size} is not a power of two up to {_QUEUE_MAX}"
            raise MessageError(msg)
        vring.size = size

    def _set_vring_base(self, payload: bytes, _fds: list[int]) -> None:
        vring, base = self._vring_state(payload)
        vring.base = base

    def _set_vring_addr(self, payload: bytes, _fds: list[int]) -> None:
        index, _flags, *addresses = m.VRING_ADDRESS.unpack(payload[: m.VRING_ADDRESS.size])
        vring = self._vring(index)
        vring.addresses = addresses[0], addresses[1], addresses[2]

    def _set_vring_call(self, payload: bytes, fds: list[int]) -> None:
        vring = self._vring(_number(payload) & _QUEUE_MASK)
        old, vring.call = vring.call, fds.pop(0) if fds else -1
        if old >= 0:
            os.close(old)

    def _set_vring_kick(self, payload: bytes, fds: list[int]) -> None:
        vring = self._vring(_number(payload) & _QUEUE_MASK)
        old, vring.kick = vring.kick, fds.pop(0) if fds else -1
        if old >= 0:
            os.close(old)
        if not self._features & Feature.PROTOCOL_FEATURES:
            self._start(vring)

    def _set_vring_err(self, _payload: bytes, _fds: list[int]) -> None:
        """Accept: errors of a ring end the connection instead."""

    def _set_vring_enable(self, payload: bytes, _fds: list[int]) -> None:
        vring, enabled = self._vring_state(payload)
        if enabled:
            self._start(vring)
        else:
            self._stop(vring)

    def _get_vring_base(self, payload: bytes, _fds: list[int]) -> bytes:
        vring, _ = self._vring_state(payload)
        self._stop(vring)
        return m.VRING_STATE.pack(self._vrings.index(vring), vring.base)

    def _set_backend_req_fd(self, _payload: bytes, _fds: list[int]) -> None:
        """Accept: this server has no requests of its own."""

    def _get_config(self, payload: bytes, _fds: list[int]) -> bytes:
        offset, size, flags = m.CONFIG_HEAD.unpack_from(payload)
        data = config_of(self._device, write_back=not self._requests.write_through)
        if offset + size > len(data):
            return b""
        return m.CONFIG_HEAD.pack(offset, size, flags) + data[offset : offset + size]

    def _get_inflight_fd(self, payload: bytes, _fds: list[int]) -> bytes:
        """Make an area; the reply has the length of the request (20 or 24 bytes)."""
        _, _, queues, size = m.INFLIGHT.unpack_from(payload)
        if not 0 < queues <= QUEUES or not 0 < size <= _QUEUE_MAX:
            msg = f"GET_INFLIGHT_FD: {queues} queues of {size} descriptors"
            raise MessageError(msg)
        fd, length = new_area(queues, size)
        self._replied.append(fd)
        return m.INFLIGHT.pack(length, 0, queues, size) + payload[m.INFLIGHT.size :]

    def _set_inflight_fd(self, payload: bytes, fds: list[int]) -> None:
        length, offset, _, size = m.INFLIGHT.unpack_from(payload)
        if len(fds) != 1:
            msg = f"SET_INFLIGHT_FD: {len(fds)} descriptors"
            raise MessageError(msg)
        self._inflight = mmap.mmap(fds[0], offset + length), offset, size

    def _set_config(self, payload: bytes, _fds: list[int]) -> None:
        """Set the write cache, which is all that a driver may write (VIRTIO 1.2, 5.2.5)."""
        offset, size, _ = m.CONFIG_HEAD.unpack_from(payload)
        value = payload[m.CONFIG_HEAD.size :]
        if (
            offset == m.WRITEBACK_OFFSET
            and size == len(value) == 1
            and self._features & Feature.CONFIG_WCE
        ):
            self._requests.write_through = not value[0]

    _handlers: dict[int, Callable[[Session, bytes, list[int]], bytes | None]] = {
        Code.GET_FEATURES: _get_features,
        Code.SET_FEATURES: _set_features,
        Code.GET_PROTOCOL_FEATURES: _get_protocol_features,
        Code.SET_PROTOCOL_FEATURES: _set_protocol_features,
        Code.SET_OWNER: _set_owner,
        Code.GET_QUEUE_NUM: _get_queue_num,
        Code.SET_MEM_TABLE: _set_mem_table,
        Code.GET_MAX_MEM_SLOTS: _get_max_mem_slots,
        Code.ADD_MEM_REG: _add_mem_reg,
        Code.REM_MEM_REG: _rem_mem_reg,
        Code.SET_VRING_NUM: _set_vring_num,
        Code.SET_VRING_BASE: _set_vring_base,
        Code.SET_VRING_ADDR: _set_vring_addr,
        Code.SET_VRING_CALL: _set_vring_call,
        Code.SET_VRING_KICK: _set_vring_kick,
        Code.SET_VRING_ERR: _set_vring_err,
        Code.SET_VRING_ENABLE: _set_vring_enable,
        Code.GET_VRING_BASE: _get_vring_base,
        Code.SET_BACKEND_REQ_FD: _set_backend_req_fd,
        Code.GET_CONFIG: _get_config,
        Code.SET_CONFIG: _set_config,
        Code.GET_INFLIGHT_FD: _get_inflight_fd,
        Code.SET_INFLIGHT_FD: _set_inflight_fd,
    }

    # -- queues

    def _vring(self, index: int) -> Vring:
        if index >= len(self._vrings):
            msg = f"queue {index} of {len(self._vrings)}"
            raise MessageError(msg)
        return self._vrings[index]

    def _vring_state(self, payload: bytes) -> tuple[Vring, int]:
        if len(payload) < m.VRING_STATE.size:
            msg = f"a vring state of {len(payload)} bytes"
            raise MessageError(msg)
        index, number = m.VRING_STATE.unpack_from(payload)
        return self._vring(index), number

    def _start(self, vring: Vring) -> None:
        if vring.worker is not None or vring.addresses is None or vring.kick < 0 or not vring.size:
            return
        vring.ring = DeviceRing(
            self._memory, vring.size, vring.addresses, vring.base,
            event_idx=bool(self._features & Feature.EVENT_IDX), inflight=self._region_of(vring),
        )  # fmt: skip
        vring.worker = QueueWorker(vring, self._requests, self.shut)
        vring.worker.start()

    def _region_of(self, vring: Vring) -> Inflight | None:
        if self._inflight is None:
            return None
        area, offset, size = self._inflight
        place = offset + self._vrings.index(vring) * region_bytes(size)
        return Inflight(area, place, vring.size)

    @staticmethod
    def _stop(vring: Vring) -> None:
        if vring.worker is not None and vring.ring is not None:
            vring.worker.stop()
            vring.base = vring.ring.next
            vring.worker = vring.ring = None


class QueueWorker:
    """The threads of one running queue.

    :param on_broken: called when the front end broke a rule of the ring.
    """

    def __init__(
        self, vring: Vring, requests: BlockRequests, on_broken: Callable[[], None]
    ) -> None:
        assert vring.ring is not None
        self._vring, self._ring, self._requests = vring, vring.ring, requests
        self._on_broken = on_broken
        self._wake_reader, self._wake = os.pipe()
        self._pool = ThreadPoolExecutor(_WORKERS, "vhost-user")
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to take requests."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests, and wait for those that were taken."""
        os.write(self._wake, b"x")
        self._thread.join()
        self._pool.shutdown()
        os.close(self._wake)
        os.close(self._wake_reader)

    def _run(self) -> None:
        try:
            while True:
                for head in self._ring.take():
                    self._pool.submit(self._execute, self._ring.chain(head))
                ready, _, _ = select.select([self._vring.kick, self._wake_reader], [], [])
                if self._wake_reader in ready:
                    return
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._vring.kick)
        except (BadRing, OSError):
            self._on_broken()

    def _execute(self, chain: Chain) -> None:
        try:
            written = self._requests.execute(chain)
        except (BadRing, OSError):  # a fault that ends a connection is an OSError
            self._on_broken()
            return
        if self._ring.put(chain.head, written) and self._vring.call >= 0:
            with contextlib.suppress(OSError):
                os.eventfd_write(self._vring.call, 1)


def _region(payload: bytes, at: int, fd: int) -> Region:
    """Return the region that a message describes at byte ``at``, mapped from its file.

    :raise OSError: the file cannot be mapped. :raise ValueError: it is too short.
    """
    guest, size, user, offset = m.REGION.unpack_from(payload, at)
    return Region(guest, size, user, mmap.mmap(fd, offset + size), offset)


def config_of(device: Device, *, write_back: bool = True) -> bytes:
    """Return the configuration space of a volume (VIRTIO 1.2, section 5.2.4)."""
    minimum, preferred, _ = device.block_sizes
    block = max(SECTOR, minimum)
    exponent = max(0, (preferred // block).bit_length() - 1)
    data = CONFIG.pack(
        device.size // SECTOR, 0, SEGMENTS_MAX, 0, 0, 0, block, exponent, 0, 1, 0, write_back,
        QUEUES, RANGE_SECTORS_MAX, RANGES_MAX, block // SECTOR, RANGE_SECTORS_MAX, RANGES_MAX, 1,
    )  # fmt: skip
    return data.ljust(CONFIG_BYTES, b"\0")


def _number(payload: bytes) -> int:
    if len(payload) < m.U64.size:
        msg = f"a number of {len(payload)} bytes"
        raise MessageError(msg)
    return int(m.U64.unpack_from(payload)[0])
