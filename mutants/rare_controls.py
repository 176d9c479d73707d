"""Controls with answers that the NBD document allows and that few servers give."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from blockio.extents import STATE_HOLE, Extent
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.controls import Control
from mutants.mutant import changed
from mutants.patching import replace
from reference_backend.nbd import messages as m
from reference_backend.nbd import options
from reference_backend.nbd import rules as rules_of_requests
from reference_backend.nbd.constants import Chunk, Info, Option, OptionReply, TransmissionFlag
from reference_backend.nbd.errors import RemoteProtocolError
from reference_backend.nbd.execution import Executor
from reference_backend.nbd.options import Options, Refusal
from reference_backend.nbd.replies import ReplyBuilder, zero_runs
from reference_backend.nbd.settings import Features

_UNSPLIT = 65536
"""Bytes of a read that a server must be able to send as one chunk (NBD_CMD_READ)."""


class ListRefused(Control):
    """A server does not have to list its exports (NBD_OPT_LIST)."""

    id = "control-list-refused"
    breaks = "LIST is refused with ERR_POLICY"

    def install(self) -> None:
        """Refuse the option."""

        def answer(options_: Options, number: int, data: bytes) -> None:
            del options_, number, data
            raise Refusal(OptionReply.ERR_POLICY, "exports are not listed")

        Options._table[Option.LIST] = answer  # noqa: SLF001


class ListEmpty(Control):
    """A server answers LIST with "zero or more" exports (NBD_OPT_LIST)."""

    id = "control-list-empty"
    breaks = "LIST names no export"

    def install(self) -> None:
        """List nothing."""
        real = Options._table[Option.LIST]  # noqa: SLF001

        def answer(options_: Options, number: int, data: bytes) -> None:
            if data:
                real(options_, number, data)  # refuses it
            else:
                options_._reply(number, OptionReply.ACK)  # noqa: SLF001

        Options._table[Option.LIST] = answer  # noqa: SLF001


class SizesRequired(Control):
    """A server with a minimum block may insist that a client asks for it."""

    id = "control-sizes-required"
    breaks = "the minimum is 512; EXPORT_NAME, and GO without asking for block sizes, are refused"

    def install(self) -> None:
        """Advertise a minimum, and refuse clients that do not ask for it."""
        real = Options._table[Option.GO]  # noqa: SLF001

        def answer(options_: Options, number: int, data: bytes) -> None:
            if Info.BLOCK_SIZE not in options._parse_info(data)[1]:  # noqa: SLF001
                raise Refusal(OptionReply.ERR_BLOCK_SIZE_REQD, "ask for the block size")
            real(options_, number, data)

        Options._table[Option.GO] = answer  # noqa: SLF001

        def refuse(*_arguments: Any, **_options: Any) -> bytes:
            raise RemoteProtocolError("EXPORT_NAME does not ask for the block size")

        replace(Options, "export_name", lambda _real: refuse)

        def make(sizes: Any) -> Any:
            def advertised(*arguments: Any) -> tuple[int, int, int]:
                low, best, high = sizes(*arguments)
                return max(low, 512), max(best, 512), max(high // 512 * 512, 512)

            return advertised

        replace(options, "advertised_sizes", make)
        replace(rules_of_requests, "advertised_sizes", make)


class OddMaximum(Control):
    """The maximum may be no multiple of the minimum ("Size constraints")."""

    id = "control-odd-maximum"
    breaks = "the minimum is 4096 or more, and the maximum is half a minimum longer than a request"

    def install(self) -> None:
        """Advertise and enforce such a maximum."""

        def make(sizes: Any) -> Any:
            def advertised(*arguments: Any) -> tuple[int, int, int]:
                low, best, high = sizes(*arguments)
                low = max(low, 4096)
                return low, max(best, low), max(high // low, 1) * low + low // 2

            return advertised

        replace(options, "advertised_sizes", make)
        replace(rules_of_requests, "advertised_sizes", make)


class ContextsOfOthers(Control):
    """A server may have metadata contexts that a client does not know, and any ids."""

    id = "control-foreign-contexts"
    breaks = "a context of another namespace is listed; the ids of contexts are large"
    NAME = "x-odd:zones"
    FIRST = 0xFFFF_FF00

    def install(self) -> None:
        """Offer the context, and number all contexts from the end of the range."""
        replace(Features, "contexts", lambda real: lambda one: [*_or_none(real(one)), *real(one)])

        def make(real: Any) -> Any:
            def match(*arguments: Any, listing: bool) -> dict[int, str]:
                found: Mapping[int, str] = real(*arguments, listing=listing)
                return {self.FIRST + key: name for key, name in found.items()}

            return match

        replace(options, "match_contexts", make)

        def ask(request: Request, real: Any, executor: Executor) -> Reply:
            named = executor.contexts
            executor.contexts = {key: one for key, one in named.items() if one != self.NAME}
            try:
                reply: Reply = real(executor, request)
            finally:
                executor.contexts = named
            if self.NAME in named.values():
                reply.extents[self.NAME] = [Extent(request.length, 0x8000_0001)]
            return reply

        real = Executor._ask[Command.BLOCK_STATUS]  # noqa: SLF001
        Executor._ask[Command.BLOCK_STATUS] = lambda executor, request: ask(  # noqa: SLF001
            request, real, executor
        )


def _or_none(contexts: Sequence[str]) -> list[str]:
    """Return the context of another namespace, if the server has contexts at all."""
    return [ContextsOfOthers.NAME] if contexts else []


class StrictContexts(Control):
    """A server may refuse a query without a colon, and list a wildcard (LIST_META_CONTEXT)."""

    id = "control-strict-contexts"
    breaks = "a query of contexts needs a colon; a list without a query has the wildcard base:"

    def install(self) -> None:
        """Refuse such a query, and list the wildcard."""

        def make(real: Any) -> Any:
            def match(
                queries: Sequence[str], contexts: Sequence[str], *, listing: bool
            ) -> dict[int, str]:
                if any(":" not in query for query in queries):
                    raise Refusal(OptionReply.ERR_INVALID, "a query lacks the colon")
                chosen: dict[int, str] = real(queries, contexts, listing=listing)
                if listing and not queries:
                    return {key: _wildcard(name) for key, name in chosen.items()}
                return chosen

            return match

        replace(options, "match_contexts", make)


def _wildcard(context: str) -> str:
    return "base:" if context.startswith("base:") else context


class UnknownFlags(Control):
    """A client ignores transmission flags that it does not know; a disk may be rotational."""

    id = "control-unknown-flags"
    breaks = "ROTATIONAL, SEND_RESIZE and a flag without a meaning are set"
    waives = ("known-transmission-flags",)
    ADDED = TransmissionFlag.ROTATIONAL | TransmissionFlag.SEND_RESIZE | (1 << 15)

    def install(self) -> None:
        """Set the flags."""

        def make(real: Any) -> Any:
            def flags(*arguments: Any, **options_: Any) -> TransmissionFlag:
                found: TransmissionFlag = real(*arguments, **options_) | self.ADDED
                return found

            return flags

        replace(Features, "transmission_flags", make)


class NoStatusPayload(Control):
    """A server with extended headers may know no payload of BLOCK_STATUS."""

    id = "control-no-status-payload"
    breaks = "BLOCK_STAT_PAYLOAD is not offered, and BLOCK_STATUS with a payload fails with EINVAL"

    def install(self) -> None:
        """Drop the flag, and allow no payload."""

        def make_flags(real: Any) -> Any:
            def flags(*arguments: Any, **options_: Any) -> TransmissionFlag:
                offered: TransmissionFlag = real(*arguments, **options_)
                return offered & ~TransmissionFlag.BLOCK_STAT_PAYLOAD

            return flags

        def make_allowed(real: Any) -> Any:
            def allowed(*arguments: Any) -> dict[int, int]:
                table: dict[int, int] = real(*arguments)
                if Command.BLOCK_STATUS in table:
                    table[Command.BLOCK_STATUS] &= ~CommandFlag.PAYLOAD_LEN
                return table

            return allowed

        replace(Features, "transmission_flags", make_flags)
        replace(rules_of_requests, "allowed_flags", make_allowed)


class LongUnsplitRefused(Control):
    """A server may refuse a read with DF that is longer than 64 KiB."""

    id = "control-df-eoverflow"
    breaks = "reads of more than 64 KiB with DF fail with EOVERFLOW"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Refuse long reads with DF."""
        is_unsplit = request.command is Command.READ and request.flags & CommandFlag.DF
        if is_unsplit and request.length > _UNSPLIT:
            return Reply(errno.EOVERFLOW)
        return below(request)


class DiscardLeavesOnes(Control):
    """After a discard nothing is known about the contents (NBD_CMD_TRIM)."""

    id = "control-discard-ff"
    breaks = "discarded ranges read as 0xff"
    waives = ("discard-old-or-zero",)
    PIECE = 1 << 20

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Write 0xff in place of a discard, with its flags."""
        if request.command is not Command.TRIM:
            return below(request)
        end = request.offset + request.length
        for at in range(request.offset, end, self.PIECE):
            ones = b"\xff" * min(self.PIECE, end - at)
            flags = request.flags & CommandFlag.FUA
            reply = below(changed(request, Command.WRITE, at, payload=ones, flags=flags))
            if reply.error:
                return reply
        return Reply()


class LongExtents(Control):
    """The last extent of a block status may reach beyond the range."""

    id = "control-long-extents"
    breaks = "block status says the status to the end of the last extent, beyond the range"
    AHEAD = 1 << 20

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Ask for a mebibyte more, and keep no extent that begins behind the range."""
        if request.command is not Command.BLOCK_STATUS or request.flags & CommandFlag.REQ_ONE:
            return below(request)
        size = self.size_of(request, below)
        longer = min(request.length + self.AHEAD, size - request.offset)
        reply = below(changed(request, length=longer))
        for name, extents in reply.extents.items():
            reply.extents[name] = _started_within(extents, request.length)
        return reply

    def size_of(self, request: Request, below: Below) -> int:
        """Return the end of the range: the server keeps the size, and extents cannot pass it."""
        del below
        return self._sizes.get(request.connection, request.offset + request.length)

    def install(self) -> None:
        """Note the size of the export of each connection."""
        self._sizes: dict[int, int] = {}

        def make(real: Any) -> Any:
            def carry_out(executor: Executor, out: Any, request: Request, contexts: Any) -> None:
                self._sizes[request.connection] = executor.device.size
                real(executor, out, request, contexts)

            return carry_out

        replace(Executor, "carry_out", make)


class HolesSettle(Control):
    """The status of unchanged data may change, as when space is allocated in the background."""

    id = "control-holes-settle"
    breaks = "some replies after a change, block status no longer reports holes, later no zeroes"
    LATEST = 23
    """Replies after a change that have the flags of before, at most; the number differs."""
    _changes: int
    _asked: int

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Count changes and replies since the last one, and clear flags."""
        reply = below(request)
        if request.command in {Command.WRITE, Command.WRITE_ZEROES, Command.TRIM}:
            self._changes += 1
            self._asked = 0
        elif "base:allocation" in reply.extents:
            self._asked += 1
            late = self._asked - self._changes % self.LATEST
            kept = ~0 if late <= 0 else ~STATE_HOLE if late <= self.LATEST else 0
            extents = reply.extents["base:allocation"]
            reply.extents["base:allocation"] = [
                Extent(one.length, one.flags & kept) for one in extents
            ]
        return reply

    def install(self) -> None:
        """Begin to count."""
        self._changes = self._asked = 0


def _started_within(extents: Sequence[Extent], length: int) -> list[Extent]:
    kept, at = [], 0
    for extent in extents:
        if at >= length:
            break
        kept.append(extent)
        at += extent.length
    return kept


class ChunksBackwards(Control):
    """The chunks of a read may come in any order, and NONE may end them."""

    id = "control-chunks-backwards"
    breaks = "reads from 8 KiB on come in chunks of 4 KiB, the last one first; NONE ends the reply"
    LONGEST = 4096

    def install(self) -> None:
        """Send the chunks in another order."""

        def make(real: Any) -> Any:
            def read(
                replies: Any, out: Any, cookie: int, offset: int, data: Any, *, whole: bool = False
            ) -> None:
                if whole or not replies.mode or len(data) < 2 * self.LONGEST:
                    real(replies, out, cookie, offset, data, whole=whole)
                else:
                    self._send(replies, out, cookie, offset, data)

            return read

        replace(ReplyBuilder, "read", make)

    def _send(self, replies: Any, out: Any, cookie: int, offset: int, data: Any) -> None:
        view = memoryview(data)
        for start, stop, is_hole in reversed(zero_runs(data)):
            if is_hole:
                payload = m.OFFSET_HOLE.pack(offset + start, stop - start)
                head = replies._chunk(0, Chunk.OFFSET_HOLE, cookie, offset, len(payload))  # noqa: SLF001
                out.append(head + payload)
                continue
            for at in reversed(range(start, stop, self.LONGEST)):
                part = view[at : min(at + self.LONGEST, stop)]
                replies._data(out, 0, cookie, offset, at, part)  # noqa: SLF001
        out.append(replies._chunk(1, Chunk.NONE, cookie, offset, 0))  # noqa: SLF001


class LongEffectsRefused(Control):
    """A server may refuse commands without a payload that are longer than its maximum."""

    id = "control-long-effects-refused"
    breaks = "TRIM, WRITE_ZEROES and CACHE of more than 32 MiB fail with EOVERFLOW"
    LONGEST = 32 << 20

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Refuse long requests without a payload."""
        is_long = request.length > self.LONGEST
        if is_long and request.command in (Command.TRIM, Command.WRITE_ZEROES, Command.CACHE):
            return Reply(errno.EOVERFLOW)
        return below(request)


class SlowFlush(Control):
    """A flush may take long."""

    id = "control-slow-flush"
    breaks = "each flush takes 50 ms longer"
    waits = True

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Wait before a flush."""
        if request.command is Command.FLUSH:
            time.sleep(0.05)
        return below(request)


class Naps(Control):
    """A server may have to wake up first."""

    id = "control-naps"
    breaks = "the first request after 0.5 s without one takes 1 s longer"
    waits = True

    def install(self) -> None:
        """Remember the time of the last request."""
        self._last_used_s = time.monotonic()
        self._waking = threading.Lock()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Wait after a pause."""
        with self._waking:
            if time.monotonic() - self._last_used_s > 0.5:
                time.sleep(1)
            self._last_used_s = time.monotonic()
        return below(request)


class ViolationsEndConnection(Control):
    """A server may end the connection of a client that violates a MUST ("Transmission")."""

    id = "control-violations-disconnect"
    breaks = "what a client MUST NOT send disconnects: commands, flags, places, malformed options"

    def install(self) -> None:
        """End the connection in place of the reply."""
        for name in ("_no_data", "_parse_info", "_parse_meta_context"):
            replace(options, name, _or_disconnect)
        broken = ("are not allowed here", "not aligned to", "beyond the end at")
        missing = {f"command {int(one)} was not offered" for one in Command}

        def make(real: Any) -> Any:
            def refuse(  # noqa: PLR0917  # the arguments of the real function
                executor: Executor, out: Any, cookie: int, offset: int, number: int, why: str
            ) -> None:
                is_wrong = why in missing or any(text in why for text in broken)
                is_known = "beyond the end" not in why or executor.device.size == _sizes[executor]
                if is_wrong and is_known:
                    raise RemoteProtocolError(why)
                real(executor, out, cookie, offset, number, why)

            return refuse

        replace(Executor, "refuse", make)

        def note(real: Any) -> Any:
            def begin(executor: Executor, *arguments: Any, **more: Any) -> None:
                real(executor, *arguments, **more)
                _sizes[executor] = executor.device.size

            return begin

        replace(Executor, "__init__", note)


_sizes: WeakKeyDictionary[Executor, int] = WeakKeyDictionary()
"""The size that the client of each executor knows: a resize changes it for later clients only."""


def _or_disconnect(real: Any) -> Any:
    """Return a function that ends the connection where the real one refuses malformed data."""

    def check(*arguments: Any) -> Any:
        try:
            return real(*arguments)
        except Refusal as refusal:
            if refusal.reply != OptionReply.ERR_INVALID:
                raise
            raise RemoteProtocolError(str(refusal)) from refusal

    return check
