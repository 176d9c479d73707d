"""Errors of the storage below: retries, leaks, results that are not checked (docs/bugs.md)."""

from __future__ import annotations

import errno

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.mutant import BLOCK, Mutant, ReplyMutant, blocks, changed, raising

_BUSY = (errno.EAGAIN, errno.ENOMEM, errno.EBUSY, errno.EINTR)


class FailureLeaksSlot(Mutant):
    """A request that fails keeps its slot."""

    id = "failure-leaks-slot"
    shows = ("error", "hang")
    says = r"memory|errno|Input/output"
    source = "DRBD 14f4962ca (a reference that leaks with each failure)"
    breaks = "after 32 requests that failed, all requests fail with ENOMEM"
    MOST = 32

    def install(self) -> None:
        """Start without leaks."""
        self._leaked = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Refuse the request if there is no slot."""
        below = raising(below)
        if self._leaked >= self.MOST:
            raise BlockError(errno.ENOMEM, "no slot is free")
        try:
            return below(request)
        except BlockError:
            self._leaked += self.strikes(request)
            raise


class BusyCountsAsDone(Mutant):
    """A request that the storage could not take is not tried again."""

    id = "busy-counts-as-done"
    shows = ("lost write", "error")
    says = r"expected an error|success|errno"
    source = "SPDK a083dd991d (results of asynchronous I/O that are not errors)"
    breaks = "a write, zeroes or discard for which the storage has no memory is acknowledged"
    commands = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Acknowledge the request."""
        below = raising(below)
        try:
            return below(request)
        except BlockError as error:
            if request.command in self.commands and error.errno in _BUSY and self.strikes(request):
                return Reply()
            raise


class RetryWithEmptyPayload(Mutant):
    """The payload is used up when a request is tried again."""

    id = "retry-with-empty-payload"
    shows = ("zeroed", "lost write", "error")
    source = "s3backer 675352a, faa846b"
    breaks = "a write that fails once is tried again with zeroes as its data, and acknowledged"
    commands = (Command.WRITE,)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Try again with zeroes."""
        below = raising(below)
        try:
            return below(request)
        except BlockError:
            if request.command is Command.WRITE and self.strikes(request):
                return below(changed(request, payload=bytes(request.length)))
            raise


class SomeReadErrorsIgnored(Mutant):
    """Only one kind of status is checked."""

    id = "some-read-errors-ignored"
    shows = ("error", "unknown", "misplaced data")
    says = r"expected an error|success|errno"
    source = "SPDK 39cd694ac5"
    breaks = "a read that fails with another errno than EIO returns success and garbage"
    commands = (Command.READ,)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Return garbage."""
        below = raising(below)
        try:
            return below(request)
        except BlockError as error:
            is_other = error.errno not in {errno.EIO, errno.EINVAL}
            if request.command is Command.READ and is_other and self.strikes(request):
                return Reply(data=b"\xb6" * request.length)
            raise


class HoleLeavesOldBuffer(ReplyMutant):
    """Holes are not written into the buffer of a read."""

    id = "hole-leaves-old-buffer"
    shows = ("misplaced data", "unknown")
    says = r"not zero|secret"
    source = "class known from buffers that are used again (ubiblk PR 501)"
    breaks = (
        "blocks of zeroes in a read of 1 MiB and more hold data of the last read of a connection"
    )
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with an empty buffer."""
        self._buffer = b""

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether a hole of a long read keeps old bytes; use the buffer for short reads."""
        data = bytes(reply.data)
        if request.length < 1 << 20:
            self._buffer = data
            return False
        self._wrong = bytearray(data)
        old = self._buffer[:BLOCK]
        for number in blocks(0, len(data)):
            at = number * BLOCK
            if len(old) == BLOCK and not any(data[at : at + BLOCK]):
                self._wrong[at : at + BLOCK] = old[: len(data) - at]
        return self._wrong != data

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Return the buffer."""
        reply.data = bytes(self._wrong)
