"""Requests of virtio-blk on a device, through layers (VIRTIO 1.2, section 5.2.6.2)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import NamedTuple

from blockio.errors import BlockError
from blockio.layers import Command, CommandFlag, Layer, Reply, Request, stack
from reference_backend.nbd.settings import Device
from reference_backend.vhost_user.device_ring import BadRing, Chain
from reference_backend.vhost_user.requests import HEADER, ID_BYTES, RANGE, UNMAP, Kind, Status

SECTOR = 512
SEGMENTS_MAX = 126
RANGES_MAX = 16
"""Most ranges of one discard or write zeroes."""
RANGE_SECTORS_MAX = 1 << 22
"""Most sectors of one range: 2 GiB."""
SERIAL = b"qbd-vhost-user"


class Answer(NamedTuple):
    """The status byte, and the data before it."""

    status: int
    data: bytes = b""


class BlockRequests:
    """Executes requests of one front end.

    :param device: the volume.
    :param layers: those above it, the first one on top.
    :param connection: the number of the front end, for the layers.
    """

    def __init__(self, device: Device, layers: Sequence[Layer], connection: int) -> None:
        self._device = device
        self._top = stack(layers, self._bottom)
        self._connection = connection
        self._cookie = 0
        self.write_through = False
        """Whether the driver has switched the write cache off: each write is durable at its end."""

    def execute(self, chain: Chain) -> int:
        """Execute the request of a chain, and write its data and status; return the bytes written.

        :raise BadRing: there is no header, or no room for the status.
        """
        sent = b"".join(chain.reads)
        room = sum(map(len, chain.writes))
        if len(sent) < HEADER.size or not room:
            msg = "a request without a header, or without a status byte"
            raise BadRing(msg)
        kind, _, sector = HEADER.unpack_from(sent)
        answer = self._answer(kind, sector, sent[HEADER.size :], room - 1)
        _scatter(chain.writes, 0, answer.data)
        _scatter(chain.writes, room - 1, bytes((answer.status,)))
        return room if kind == Kind.READ else len(answer.data) + 1

    def _answer(self, kind: int, sector: int, payload: bytes, room: int) -> Answer:
        handler = self._handlers.get(kind)
        if handler is None:
            return Answer(Status.UNSUPP)
        try:
            return handler(self, sector, payload, room)
        except BlockError as error:
            return Answer(Status.UNSUPP if error.errno == errno.ENOTSUP else Status.IOERR)

    def _read(self, sector: int, _payload: bytes, room: int) -> Answer:
        self._check(sector * SECTOR, room)
        return Answer(Status.OK, bytes(self._ask(Command.READ, 0, sector * SECTOR, room).data))

    def _write(self, sector: int, payload: bytes, _room: int) -> Answer:
        self._check(sector * SECTOR, len(payload), changes=True)
        self._ask(Command.WRITE, 0, sector * SECTOR, len(payload), payload)
        self._after_change()
        return Answer(Status.OK)

    def _flush(self, _sector: int, _payload: bytes, _room: int) -> Answer:
        self._ask(Command.FLUSH, 0, 0, 0)
        return Answer(Status.OK)

    def _get_id(self, _sector: int, _payload: bytes, room: int) -> Answer:
        return Answer(Status.OK, SERIAL.ljust(ID_BYTES, b"\0")[: min(room, ID_BYTES)])

    def _discard(self, _sector: int, payload: bytes, _room: int) -> Answer:
        return self._ranges(payload, Command.TRIM, permitted=0)

    def _write_zeroes(self, _sector: int, payload: bytes, _room: int) -> Answer:
        return self._ranges(payload, Command.WRITE_ZEROES, permitted=UNMAP)

    def _ranges(self, payload: bytes, command: Command, permitted: int) -> Answer:
        """Check all ranges before the first one is changed: a refused request changes nothing."""
        if not payload or len(payload) % RANGE.size or len(payload) > RANGES_MAX * RANGE.size:
            return Answer(Status.IOERR)
        ranges = list(RANGE.iter_unpack(payload))
        if any(flags & ~permitted for _, _, flags in ranges):
            return Answer(Status.UNSUPP)
        for sector, count, _ in ranges:
            if count > RANGE_SECTORS_MAX:
                return Answer(Status.IOERR)
            self._check(sector * SECTOR, count * SECTOR, changes=True)
        for sector, count, flags in ranges:
            zeroing = command is Command.WRITE_ZEROES
            flag = CommandFlag.NO_HOLE if zeroing and not flags & UNMAP else CommandFlag(0)
            self._ask(command, flag, sector * SECTOR, count * SECTOR)
        self._after_change()
        return Answer(Status.OK)

    def _after_change(self) -> None:
        if self.write_through:
            self._ask(Command.FLUSH, 0, 0, 0)

    _handlers: dict[int, Callable[[BlockRequests, int, bytes, int], Answer]] = {
        Kind.READ: _read,
        Kind.WRITE: _write,
        Kind.FLUSH: _flush,
        Kind.GET_ID: _get_id,
        Kind.DISCARD: _discard,
        Kind.WRITE_ZEROES: _write_zeroes,
    }

    def _check(self, offset: int, length: int, *, changes: bool = False) -> None:
        block = max(SECTOR, self._device.block_sizes[0])
        if changes and self._device.read_only:
            raise BlockError(errno.EPERM, "the volume is read-only")
        if (offset | length) % block or offset + length > self._device.size:
            raise BlockError(errno.EINVAL, f"{length} bytes at {offset}")

    def _ask(
        self, command: Command, flags: int, offset: int, length: int, payload: bytes = b""
    ) -> Reply:
        if not length and command is not Command.FLUSH:
            return Reply()
        self._cookie += 1
        request = Request(command, flags, offset, length, self._cookie, payload, self._connection)
        reply = self._top(request)
        if reply.on_wire is not None and not reply.on_wire(b"")[1]:
            msg = "a fault ends the connection"
            raise ConnectionResetError(msg)
        if reply.error:
            raise BlockError(reply.error)
        return reply

    def _bottom(self, request: Request) -> Reply:
        device, offset, length = self._device, request.offset, request.length
        if request.command is Command.READ:
            return Reply(data=device.read(offset, length))
        if request.command is Command.WRITE:
            device.write(offset, request.payload)
        elif request.command is Command.TRIM:
            device.discard(offset, length)
        elif request.command is Command.WRITE_ZEROES:
            device.write_zeroes(offset, length, bool(request.flags & CommandFlag.NO_HOLE))
        else:
            device.flush()
        return Reply()


def _scatter(views: Sequence[memoryview], start: int, data: bytes) -> None:
    """Write data into views, as if they were one, from byte ``start`` on."""
    rest, at = memoryview(data), 0
    for view in views:
        first = max(0, start - at)
        part = rest[: max(0, len(view) - first)]
        if len(part):
            view[first : first + len(part)] = part
            rest, start = rest[len(part) :], start + len(part)
        at += len(view)
