"""Execute one request: check it against the rules, call layers and device, build the reply."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Sequence

from blockio.errors import BlockError
from blockio.extents import Extent
from blockio.layers import Command, CommandFlag, Layer, Reply, Request, stack
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import Agreement
from reference_backend.nbd.constants import BASE_ALLOCATION, QBD_DIRTY
from reference_backend.nbd.replies import ReplyBuilder
from reference_backend.nbd.rules import STATUS_PAYLOAD_HEAD, Rules
from reference_backend.nbd.settings import Bytes, Device, Features, Limits


class Executor:
    """Executes the requests of one connection on one device.

    :param layers: the layers above the device, first one on top.
    :param reserve: called with the length of a READ that takes much memory, before it is read. It
        may wait. It raises MemoryError if there is no memory.
    :param start_blocking: called with a request that a layer may pause, and its metadata contexts.
        It executes the request in another thread and sends the reply.

    ``counts`` has requests and bytes of each command, and errors. ``current`` is the request that
    is being executed on the general path. ``hang_up`` is True once a layer ended the connection.
    """

    def __init__(
        self,
        agreement: Agreement,
        features: Features,
        limits: Limits,
        *,
        layers: Sequence[Layer] = (),
        reserve: Callable[[int], None] | None = None,
        connection: int = 0,
        start_blocking: Callable[[Request, dict[int, str]], None] | None = None,
    ) -> None:
        self._for = agreement, features, limits
        self.rules = Rules(*self._for)
        assert agreement.device is not None
        self.device: Device = agreement.device
        self.replies = ReplyBuilder(agreement.mode)
        self.contexts = agreement.contexts
        self.limits = limits
        self.layers = layers
        self._top = stack(layers, self._bottom)
        self.counts: Counter[str] = Counter()
        self.current: Request | None = None
        self.hang_up = False
        self._reserve = reserve
        self._connection = connection
        self._start_blocking = start_blocking

    def for_thread(self, reserve: Callable[[int], None]) -> Executor:
        """Return an executor for one request of the same client in another thread."""
        return Executor(
            *self._for, layers=self.layers, reserve=reserve, connection=self._connection
        )

    def refuse(self, out: list[Bytes], cookie: int, offset: int, number: int, why: str) -> None:
        """Append an error reply and count it."""
        self.counts["errors"] += 1
        self.replies.fail(out, cookie, offset, number, why)

    def fail(self, out: list[Bytes], cookie: int, offset: int, error: Exception) -> None:
        """Append the error reply for an exception of a device or a layer."""
        number = error.errno if isinstance(error, BlockError) else errno.ENOMEM
        self.refuse(out, cookie, offset, number, str(error))

    def execute(  # noqa: PLR0917  # the fields of the header, in their order
        self,
        out: list[Bytes],
        flags: int,
        command: int,
        cookie: int,
        offset: int,
        length: int,
        payload: Bytes,
    ) -> None:
        """Execute one request and append its reply."""
        contexts = self.contexts
        if payload and command == Command.BLOCK_STATUS:
            length, contexts = self._parse_status_payload(payload)
            payload = b""
        verdict = self.rules.judge(command, flags, offset, length)
        if verdict is not None:
            self.refuse(out, cookie, offset, *verdict)
            return
        if self.layers:
            payload = bytes(payload)  # a layer may keep it, but the receive buffer is reused
        request = Request(
            Command(command), flags, offset, length, cookie, payload, self._connection
        )
        if self._start_blocking is not None and any(
            getattr(one, "pauses", False) for one in self.layers
        ):
            self._start_blocking(request, contexts)
        else:
            self.carry_out(out, request, contexts)

    def carry_out(self, out: list[Bytes], request: Request, contexts: dict[int, str]) -> None:
        """Call the layers and the device; append the reply."""
        self.current = request
        try:
            reply = self._top(request)
        except (BlockError, MemoryError) as error:
            self.fail(out, request.cookie, request.offset, error)
        else:
            self._answer(out, request, reply, contexts)
        finally:
            self.current = None

    def _parse_status_payload(self, payload: Bytes) -> tuple[int, dict[int, str]]:
        """Return the effect length and contexts ("NBD_CMD_BLOCK_STATUS" with PAYLOAD_LEN).

        If an id was not negotiated, the length is 0, which the rules refuse with EINVAL.
        """
        (length,) = m.U64.unpack_from(payload)
        places = range(STATUS_PAYLOAD_HEAD, len(payload), m.U32.size)
        wanted = {m.U32.unpack_from(payload, at)[0] for at in places}
        if not wanted <= self.contexts.keys():
            return 0, {}
        return length, {key: name for key, name in self.contexts.items() if key in wanted}

    # -- the device, below all layers

    def _bottom(self, request: Request) -> Reply:
        return self._ask[request.command](self, request)

    def _ask_read(self, request: Request) -> Reply:
        if not request.length:
            return Reply()
        if self._reserve is not None and request.length > LARGE_READ:
            self._reserve(request.length)
        return Reply(data=self.device.read(request.offset, request.length))

    def _ask_write(self, request: Request) -> Reply:
        if request.length:
            fua = bool(request.flags & CommandFlag.FUA)
            self.device.write(request.offset, request.payload, fua)
        return Reply()

    def _ask_flush(self, request: Request) -> Reply:
        del request
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

    _ask: dict[Command, Callable[[Executor, Request], Reply]] = {
        Command.READ: _ask_read,
        Command.WRITE: _ask_write,
        Command.FLUSH: _ask_flush,
        Command.TRIM: _ask_trim,
        Command.WRITE_ZEROES: _ask_write_zeroes,
        Command.CACHE: _ask_cache,
        Command.BLOCK_STATUS: _ask_block_status,
    }

    # -- the reply

    def _answer(
        self, out: list[Bytes], request: Request, reply: Reply, contexts: dict[int, str]
    ) -> None:
        pieces: list[Bytes] = []
        cookie, offset = request.cookie, request.offset
        if reply.error:
            self.refuse(pieces, cookie, offset, reply.error, "")
        else:
            name = request.command.name.lower()
            self.counts[name] += 1
            self.counts[name + "_bytes"] += request.length
            if request.command is Command.READ:
                whole = bool(request.flags & CommandFlag.DF)
                self.replies.read(pieces, cookie, offset, reply.data, whole=whole)
            elif request.command is Command.BLOCK_STATUS:
                extents = _chosen(request, reply, contexts)
                self.replies.status(pieces, cookie, offset, extents)
            else:
                self.replies.succeed(pieces, cookie, offset)
        if reply.on_wire is not None:
            raw, keep = reply.on_wire(b"".join(pieces))
            self.hang_up = not keep
            pieces = [raw]
        out.extend(pieces)


LARGE_READ = 4 * 1024 * 1024
"""READs longer than this reserve memory first, so that many of them cannot exhaust it."""
_STATUS: dict[str, Callable[[Device, int, int], Sequence[Extent]]] = {
    BASE_ALLOCATION: lambda device, offset, length: device.block_status(offset, length),
    QBD_DIRTY: lambda device, offset, length: device.dirty_status(offset, length),
}


def _chosen(
    request: Request, reply: Reply, contexts: dict[int, str]
) -> dict[int, Sequence[Extent]]:
    """Return extents by context id; with REQ_ONE one of each, cut at the end of the range."""
    if not request.flags & CommandFlag.REQ_ONE:
        return {key: reply.extents[name] for key, name in contexts.items()}
    first = {key: reply.extents[name][0] for key, name in contexts.items()}
    return {
        key: [Extent(min(extent.length, request.length), extent.flags)]
        for key, extent in first.items()
    }
