"""Carrying out requests by table: what is allowed, what a device is asked, how a reply is built.

NBD document, "Request types", "Command flags", "Structured reply types", "Error values".
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reference_backend.layers import Below, Command, CommandFlag, Reply, Request
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import (
    BASE_ALLOCATION,
    EXTENDED_REPLY_MAGIC,
    QBD_DIRTY,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    Chunk,
    ChunkFlag,
    TransmissionFlag,
)
from reference_backend.nbd.errors import wire_errno
from reference_backend.nbd.negotiation import Agreement, ReplyMode
from reference_backend.nbd.settings import Bytes, Device, Features, Limits
from reference_backend.store.errors import BlockError
from reference_backend.store.extents import Extent

DONE, DATA = int(ChunkFlag.DONE), int(Chunk.OFFSET_DATA)
HOLE_UNIT = 64 * 1024
"""Reads of at least this many bytes are searched for zeroes, in these units, to be sent as holes."""
_ZEROES = bytes(HOLE_UNIT)
EXTENT_MAX = 0xFFFFFFFF
"""Longest extent of the 32-bit BLOCK_STATUS."""
WRITING = frozenset({Command.WRITE, Command.TRIM, Command.WRITE_ZEROES})
FULL = frozenset({Command.WRITE, Command.WRITE_ZEROES})
"""Commands that fail with ENOSPC, not EINVAL, beyond the end ("Request types")."""


@dataclass(slots=True)
class Pending:
    """A request's header, as it came."""

    flags: int
    command: int
    cookie: int
    offset: int
    length: int


class Executor:
    """What one connection may ask of one device, and how it is answered."""

    def __init__(
        self,
        agreement: Agreement,
        features: Features,
        limits: Limits,
        *,
        layered: Callable[[Below], Below] | None = None,
        connection: int = 0,
    ) -> None:
        if agreement.device is None:
            msg = "the handshake has not chosen an export"
            raise ValueError(msg)
        self.device: Device = agreement.device
        self.mode = agreement.mode
        self.contexts = agreement.contexts
        self.limits = limits
        self.connection = connection
        self.read_only = bool(agreement.flags & TransmissionFlag.READ_ONLY)
        minimum, _preferred, maximum = self.device.block_sizes
        self.align_mask = max(minimum, 1) - 1
        self.longest = max(minimum, min(maximum, limits.payload))
        self.allowed = allowed_flags(features, agreement)
        self.layered = layered(self._bottom) if layered is not None else None
        self.current: Request | None = None
        self.counts: Counter[str] = Counter()

    # -- bookkeeping

    def count(self, reads: int, read_bytes: int, writes: int, written_bytes: int) -> None:
        """Add a batch of fast-path requests to the statistics."""
        counts = self.counts
        if reads:
            counts["read"] += reads
            counts["read_bytes"] += read_bytes
        if writes:
            counts["write"] += writes
            counts["write_bytes"] += written_bytes

    # -- what is allowed

    def payload_length(self, pending: Pending) -> int:
        """Return how many bytes follow the header ("Request message")."""
        if self.mode is ReplyMode.EXTENDED and pending.flags & CommandFlag.PAYLOAD_LEN:
            return pending.length
        return pending.length if pending.command == Command.WRITE else 0

    def refusal(self, pending: Pending, payload_length: int) -> tuple[int, str] | None:
        """Return errno and reason if a request breaks a rule, else None. Checked before its payload."""
        command, flags = pending.command, pending.flags
        allowed = self.allowed.get(command)
        if allowed is None:
            return errno.EINVAL, f"command {command} was not offered"
        if flags & ~allowed:
            return errno.EINVAL, f"flags {flags & ~allowed:#x} are not allowed here"
        if command in WRITING and self.read_only:
            return errno.EPERM, "the export is read-only"
        if payload_length and command == Command.BLOCK_STATUS:
            ok = payload_length >= 12 and payload_length % 4 == 0
            ok = ok and payload_length <= 8 + 4 * max(len(self.contexts), 1)
            return None if ok else (errno.EINVAL, "a payload of a wrong length")
        if payload_length > self.limits.payload or (
            command in (Command.READ, Command.WRITE) and pending.length > self.longest
        ):
            return errno.EINVAL, f"{pending.length} bytes are over the maximum of {self.longest}"
        return self._range_refusal(pending)

    def _range_refusal(self, pending: Pending) -> tuple[int, str] | None:
        if pending.command == Command.FLUSH:
            return None
        if pending.offset + pending.length > self.device.size:
            number = errno.ENOSPC if pending.command in FULL else errno.EINVAL
            return number, f"beyond the end at {self.device.size}"
        if (pending.offset | pending.length) & self.align_mask:
            return errno.EINVAL, f"not aligned to {self.align_mask + 1} bytes"
        if pending.command == Command.BLOCK_STATUS and not pending.length:
            return errno.EINVAL, "block status of nothing"
        return None

    # -- carrying out

    def execute(self, out: list[Bytes], pending: Pending, payload: Bytes) -> None:
        """Carry out one request and append its reply."""
        contexts = self.contexts
        if payload and pending.command == Command.BLOCK_STATUS:
            contexts = self._take_status_payload(pending, payload)
            payload = b""
        refusal = self.refusal(pending, 0)
        if refusal is not None:
            self.refuse(out, pending, *refusal)
            return
        try:
            self._carry_out(out, pending, payload, contexts)
        except (BlockError, MemoryError) as error:
            self.fail(out, pending.cookie, pending.offset, error)

    def _take_status_payload(self, pending: Pending, payload: Bytes) -> dict[int, str]:
        """Parse the payload of BLOCK_STATUS: effect length, context ids ("NBD_CMD_BLOCK_STATUS")."""
        (pending.length,) = m.U64.unpack_from(payload)
        wanted = {m.U32.unpack_from(payload, at)[0] for at in range(8, len(payload), 4)}
        if not wanted <= self.contexts.keys():
            pending.length = 0  # an id that was not negotiated: EINVAL, as for an empty range
        return {key: name for key, name in self.contexts.items() if key in wanted}

    def _carry_out(
        self, out: list[Bytes], pending: Pending, payload: Bytes, contexts: dict[int, str]
    ) -> None:
        command = Command(pending.command)
        if self.layered is None:
            payload_or_view: Bytes = payload
        else:
            payload_or_view = bytes(payload)  # a layer may keep it; the buffer is used again
        request = Request(
            command,
            pending.flags,
            pending.offset,
            pending.length,
            pending.cookie,
            payload_or_view,
            self.connection,
        )
        self.current = request
        try:
            reply = (self.layered or self._bottom)(request)
        finally:
            self.current = None
        if reply.error:
            raise BlockError(reply.error)
        self._count_one(command, pending.length)
        if command is Command.READ:
            self._reply_read(out, pending, reply.data)
        elif command is Command.BLOCK_STATUS:
            self._reply_status(out, pending, contexts, reply)
        else:
            self.succeed(out, pending.cookie, pending.offset)

    def _count_one(self, command: Command, length: int) -> None:
        name = command.name.lower()
        self.counts[name] += 1
        self.counts[name + "_bytes"] += length

    def _bottom(self, request: Request) -> Reply:
        """Ask the device: what lies beneath all layers."""
        return _ASK[request.command](self, request)

    def _ask_read(self, request: Request) -> Reply:
        if not request.length:
            return Reply()
        return Reply(data=self.device.read(request.offset, request.length))

    def _ask_write(self, request: Request) -> Reply:
        if request.length:
            fua = bool(request.flags & CommandFlag.FUA)
            self.device.write(request.offset, request.payload, fua)
        return Reply()

    def _ask_flush(self, request: Request) -> Reply:
        self.device.flush()
        return Reply()

    def _ask_trim(self, request: Request) -> Reply:
        if request.length:
            fua = bool(request.flags & CommandFlag.FUA)
            self.device.discard(request.offset, request.length, fua)
        return Reply()

    def _ask_write_zeroes(self, request: Request) -> Reply:
        if request.length:
            flags = request.flags
            self.device.write_zeroes(
                request.offset,
                request.length,
                bool(flags & CommandFlag.NO_HOLE),
                bool(flags & CommandFlag.FAST_ZERO),
                bool(flags & CommandFlag.FUA),
            )
        return Reply()

    def _ask_cache(self, request: Request) -> Reply:
        if request.length:
            self.device.cache(request.offset, request.length)
        return Reply()

    def _ask_block_status(self, request: Request) -> Reply:
        reply = Reply()
        for name in self.contexts.values():
            ask = _STATUS[name]
            reply.extents[name] = ask(self.device, request.offset, request.length)
        return reply

    # -- replies

    def succeed(self, out: list[Bytes], cookie: int, offset: int) -> None:
        """Append a success without data."""
        if self.mode is ReplyMode.EXTENDED:
            out.append(self._chunk(DONE, Chunk.NONE, cookie, offset, 0))
        else:
            out.append(m.SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie))

    def fail(
        self, out: list[Bytes], cookie: int, offset: int, error: BlockError | MemoryError
    ) -> None:
        """Append a failure that the device or a layer raised."""
        number = error.errno if isinstance(error, BlockError) else errno.ENOMEM
        self._append_error(out, cookie, offset, number, str(error))

    def refuse(self, out: list[Bytes], pending: Pending, number: int, message: str) -> None:
        """Append the refusal of a request."""
        self._append_error(out, pending.cookie, pending.offset, number, message)

    def _append_error(
        self, out: list[Bytes], cookie: int, offset: int, number: int, message: str
    ) -> None:
        self.counts["errors"] += 1
        wire = wire_errno(number)
        if self.mode is ReplyMode.SIMPLE:
            out.append(m.SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, wire, cookie))
            return
        text = message.encode()[:1024]
        payload = m.ERROR.pack(wire, len(text)) + text
        out.append(self._chunk(DONE, Chunk.ERROR, cookie, offset, len(payload)) + payload)

    def _chunk(self, flags: int, chunk: int, cookie: int, offset: int, length: int) -> bytes:
        if self.mode is ReplyMode.EXTENDED:
            return m.EXTENDED_REPLY.pack(EXTENDED_REPLY_MAGIC, flags, chunk, cookie, offset, length)
        return m.STRUCTURED_REPLY.pack(STRUCTURED_REPLY_MAGIC, flags, chunk, cookie, length)

    def _reply_read(self, out: list[Bytes], pending: Pending, data: Bytes) -> None:
        if self.mode is ReplyMode.SIMPLE:
            out.append(m.SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, pending.cookie))
            out.append(data)
        elif not len(data):
            out.append(self._chunk(DONE, Chunk.NONE, pending.cookie, pending.offset, 0))
        elif pending.flags & CommandFlag.DF:
            self._data_chunk(out, DONE, pending.cookie, pending.offset, pending.offset, data)
        else:
            self.read_structured(out, pending.cookie, pending.offset, data)

    def read_structured(self, out: list[Bytes], cookie: int, offset: int, data: Bytes) -> None:
        """Append the chunks of a READ: data, and holes where the data is zero for a whole unit.

        ``data`` is not empty. Judging by content, not by block status, keeps the reply atomic.
        """
        if len(data) < HOLE_UNIT:
            self._data_chunk(out, DONE, cookie, offset, offset, data)
            return
        runs = zero_runs(data)
        if len(runs) == 1 and not runs[0][2]:
            self._data_chunk(out, DONE, cookie, offset, offset, data)
            return
        view = memoryview(data)
        for start, stop, hole in runs:
            flags = DONE if stop == len(data) else 0
            if hole:
                payload = m.OFFSET_HOLE.pack(offset + start, stop - start)
                head = self._chunk(flags, Chunk.OFFSET_HOLE, cookie, offset, len(payload))
                out.append(head + payload)
            else:
                self._data_chunk(out, flags, cookie, offset, offset + start, view[start:stop])

    def _data_chunk(
        self, out: list[Bytes], flags: int, cookie: int, base: int, at: int, data: Bytes
    ) -> None:
        """Append one OFFSET_DATA chunk; ``base`` is the request's offset, ``at`` the data's."""
        length = len(data) + 8
        if self.mode is ReplyMode.EXTENDED:
            head = m.EXTENDED_OFFSET_DATA.pack(
                EXTENDED_REPLY_MAGIC, flags, DATA, cookie, base, length, at
            )
        else:
            head = m.OFFSET_DATA.pack(STRUCTURED_REPLY_MAGIC, flags, DATA, cookie, length, at)
        out.append(head)
        out.append(data)

    def _reply_status(
        self, out: list[Bytes], pending: Pending, contexts: dict[int, str], reply: Reply
    ) -> None:
        extended = self.mode is ReplyMode.EXTENDED
        kind = Chunk.BLOCK_STATUS_EXT if extended else Chunk.BLOCK_STATUS
        last = len(contexts)
        for number, (key, name) in enumerate(contexts.items(), start=1):
            extents = list(reply.extents[name])
            if pending.flags & CommandFlag.REQ_ONE:
                extents = [_clipped(extents[0], pending.length)]
            if not extended:
                extents = _fit_32_bits(extents)
            payload = m.status_payload(key, extents, extended=extended)
            flags = DONE if number == last else 0
            head = self._chunk(flags, kind, pending.cookie, pending.offset, len(payload))
            out.append(head + payload)


def zero_runs(data: Bytes) -> list[tuple[int, int, bool]]:
    """Split data into runs of (start, stop, is zero), in units of 64 KiB; a shorter tail is data."""
    whole = data if isinstance(data, bytes | bytearray) else None
    runs: list[tuple[int, int, bool]] = []
    for start in range(0, len(data), HOLE_UNIT):
        stop = min(start + HOLE_UNIT, len(data))
        if stop - start < HOLE_UNIT or data[start]:
            hole = False
        elif whole is not None:
            hole = whole.startswith(_ZEROES, start)
        else:
            hole = bytes(data[start:stop]) == _ZEROES
        if runs and runs[-1][2] == hole:
            runs[-1] = (runs[-1][0], stop, hole)
        else:
            runs.append((start, stop, hole))
    return runs


def _clipped(extent: Extent, length: int) -> Extent:
    """REQ_ONE: one extent, not beyond the range asked for ("Command flags")."""
    return Extent(min(extent.length, length), extent.flags)


def _fit_32_bits(extents: Sequence[Extent]) -> list[Extent]:
    """Cut at the first extent whose length 32 bits cannot hold; the client asks again for the rest."""
    fitting: list[Extent] = []
    for extent in extents:
        if extent.length > EXTENT_MAX:
            fitting.append(Extent(EXTENT_MAX & ~0xFFFF, extent.flags))
            break
        fitting.append(extent)
    return fitting


def allowed_flags(features: Features, agreement: Agreement) -> dict[int, int]:
    """Return the flags that each command may carry; a command that is missing was not offered."""
    fua = CommandFlag.FUA if features.fua else 0
    df = CommandFlag.DF if features.df and agreement.mode is not ReplyMode.SIMPLE else 0
    fast = CommandFlag.FAST_ZERO if features.fast_zero else 0
    extended = agreement.mode is ReplyMode.EXTENDED
    payload = CommandFlag.PAYLOAD_LEN if extended else 0
    table = {
        Command.READ: (True, fua | df),
        Command.WRITE: (True, fua | payload),
        Command.FLUSH: (features.flush, fua),
        Command.TRIM: (features.trim, fua),
        Command.CACHE: (features.cache, fua),
        Command.WRITE_ZEROES: (features.write_zeroes, fua | CommandFlag.NO_HOLE | fast),
        Command.BLOCK_STATUS: (
            bool(agreement.contexts),
            fua | CommandFlag.REQ_ONE | payload,
        ),
    }
    return {int(command): int(flags) for command, (on, flags) in table.items() if on}


_STATUS: dict[str, Callable[[Device, int, int], Sequence[Extent]]] = {
    BASE_ALLOCATION: lambda device, offset, length: device.block_status(offset, length),
    QBD_DIRTY: lambda device, offset, length: device.dirty_status(offset, length),
}
_ASK: dict[Command, Callable[[Executor, Request], Reply]] = {
    Command.READ: Executor._ask_read,
    Command.WRITE: Executor._ask_write,
    Command.FLUSH: Executor._ask_flush,
    Command.TRIM: Executor._ask_trim,
    Command.WRITE_ZEROES: Executor._ask_write_zeroes,
    Command.CACHE: Executor._ask_cache,
    Command.BLOCK_STATUS: Executor._ask_block_status,
}
