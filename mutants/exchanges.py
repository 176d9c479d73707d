"""Replies and requests of a connection that are confused with others (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import threading
from typing import NoReturn

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants import clock
from mutants.connections import on_end
from mutants.mutant import Mutant, ReplyMutant, RequestMutant, changed, raising

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class ReadBufferShared(ReplyMutant):
    """Replies that wait to be sent share one buffer."""

    id = "read-buffer-shared"
    shows = ("misplaced data", "not linearizable")
    source = "liburing issue 605"
    breaks = "of several reads of 16 KiB and more in flight, all but the last may return its data"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with a buffer for each connection."""
        self._buffers: dict[int, bytearray] = {}

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the buffer is used."""
        return 16384 <= request.length <= 1 << 20

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Read into the buffer."""
        buffer = self._buffers.setdefault(request.connection, bytearray(1 << 20))
        buffer[: request.length] = reply.data
        reply.data = memoryview(buffer)[: request.length]


class ReplyCacheByCookie(Mutant):
    """A cookie that is used again is taken for a repetition."""

    id = "reply-cache-by-cookie"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "class known from reply caches for repeated requests"
    breaks = "a read with the cookie and the range of an earlier read gets its reply again"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with an empty cache."""
        self._cache: dict[tuple[int, int], tuple[int, int, bytes]] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Answer from the cache."""
        reply = below(request)
        if request.command is not Command.READ or request.length > 1 << 20:
            return reply
        key = request.connection, request.cookie
        offset, length, data = self._cache.get(key, (0, -1, b""))
        if (offset, length) == (request.offset, request.length):
            if data != reply.data and self.strikes(request):
                reply.data = data
                return reply
        elif len(self._cache) > 64:
            self._cache.clear()
        self._cache[key] = request.offset, request.length, bytes(reply.data)
        return reply


class FailedWriteDoneLater(RequestMutant):
    """A write whose error was reported is still tried again."""

    id = "failed-write-done-later"
    shows = ("lost write", "misplaced data")
    source = (
        "class known from retries after a timeout (SPDK 22fc274b58: abort of a retried request)"
    )
    breaks = "a write that failed is carried out two requests later"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without a failed write."""
        self._failed: list[tuple[int, Request]] = []

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Try failed writes again."""
        below = raising(below)
        with self._lock:
            due = [one for left, one in self._failed if left <= 1]
            self._failed = [(left - 1, one) for left, one in self._failed if left > 1]
            try:
                return below(request)
            except BlockError:
                if request.command is Command.WRITE and self.strikes(request):
                    self._failed.append((2, changed(request, payload=bytes(request.payload))))
                raise
            finally:
                for one in due:
                    self._again(one, below)

    @staticmethod
    def _again(request: Request, below: Below) -> None:
        with contextlib.suppress(BlockError):  # it may fail again
            below(request)


class ErrorOfPreviousRequest(Mutant):
    """The error field of a request that is used again is not cleared."""

    id = "error-of-previous-request"
    shows = ("error",)
    says = r"errno|error|Input/output"
    source = "class known from recycled requests (Open-CAS 092ce8fd)"
    breaks = "the second request after one that failed fails with the same errno"

    def install(self) -> None:
        """Start without an error."""
        self._errors: dict[int, tuple[int, int]] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Fail again."""
        below = raising(below)
        left, number = self._errors.pop(request.connection, (0, 0))
        if left == 1 and self.strikes(request):
            raise BlockError(number, "the error of another request")
        if left > 1:
            self._errors[request.connection] = left - 1, number
        try:
            return below(request)
        except BlockError as error:
            self._errors[request.connection] = 2, error.errno
            raise


class CloseEndsOthers(Mutant):
    """The end of one connection closes what the others use."""

    id = "close-ends-others"
    shows = ("protocol error",)
    says = r"closed the connection|reset|Input/output error|shutdown"
    source = "class known from state that connections share (nbdkit f71080b1)"
    breaks = "when a client leaves, the next request of each older connection ends this connection"

    def install(self) -> None:
        """Note connections that end."""
        self._open: set[int] = set()
        self._doomed: set[int] = set()

        def ended(number: int) -> None:
            self._open.discard(number)
            self._doomed |= {one for one in self._open if one < number}

        on_end(ended)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """End the connection."""
        self._open.add(request.connection)
        if request.connection in self._doomed and self.strikes(request):
            self._doomed.discard(request.connection)
            return Reply(on_wire=lambda _: (b"", False))
        return below(request)


def _wait_forever() -> NoReturn:
    while True:
        threading.Event().wait()


class CompletionWithoutWakeup(Mutant):
    """A loop sleeps although a request has been completed."""

    id = "completion-without-wakeup"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer|did not end within|No reply"
    source = "ubiblk 332c4af, SPDK df8d361f6c"
    breaks = "the first request after one second without any is never answered"

    def install(self) -> None:
        """Start the clock at the first request."""
        self._last_seen_s = 0.0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Wait forever after a pause."""
        now_s = clock.now_s()
        last_s, self._last_seen_s = self._last_seen_s, now_s
        if last_s and now_s - last_s > 1.0 and self.strikes(request):
            _wait_forever()
        return below(request)
