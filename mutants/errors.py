"""Errors that are lost, changed or invented (docs/bugs.md, group F)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, ReplyMutant, RequestMutant
from mutants.patching import replace
from reference_backend.nbd.execution import Executor

Refuse = Callable[..., None]


class _RefusalMutant(Mutant):
    """A bug in the function that answers a request with an error."""

    takes = ALWAYS

    def install(self) -> None:
        """Patch the function."""

        def make(real: Refuse) -> Refuse:
            def refuse(executor: Executor, *arguments: Any) -> None:
                if self.strikes():
                    self.refuse(real, executor, *arguments)
                else:
                    real(executor, *arguments)

            return refuse

        replace(Executor, "refuse", make)

    def refuse(self, real: Refuse, executor: Executor, *arguments: Any) -> None:
        """Answer wrongly; the arguments are output, cookie, offset, errno and message."""
        raise NotImplementedError


class AsyncErrorIgnored(_RefusalMutant):
    """Errors of writes are not checked."""

    id = "async-error-ignored"
    shows = ("error",)
    says = r"simple reply|DID NOT RAISE|succe|errno|expected an error"
    source = "docs/bugs.md, F1"
    breaks = "requests that fail are acknowledged"

    def refuse(self, real: Refuse, executor: Executor, *arguments: Any) -> None:
        """Report success instead of an error."""
        out, cookie, *_ = arguments
        executor.replies.succeed(out, cookie, 0)


class ErrnoCollapsed(_RefusalMutant):
    """Every error is EIO."""

    id = "errno-collapsed"
    shows = ("error",)
    says = r"errno|Input/output error|Invalid"
    source = "docs/bugs.md, F4"
    breaks = "every error is reported as EIO"

    def refuse(self, real: Refuse, executor: Executor, *arguments: Any) -> None:
        """Replace the errno."""
        out, cookie, offset, _, why = arguments
        real(executor, out, cookie, offset, errno.EIO, why)


class ErrorKillsConnection(_RefusalMutant):
    """A failed request ends the connection."""

    id = "error-kills-connection"
    shows = ("protocol error",)
    says = r"closed the connection|reset|Broken pipe|shutdown"
    source = "docs/bugs.md, F7"
    breaks = "a request that fails ends the connection"

    def refuse(self, real: Refuse, executor: Executor, *arguments: Any) -> None:
        """Raise an exception that ends the connection."""
        raise ConnectionResetError


class TransientBecomesFatal(RequestMutant):
    """An interrupted system call is reported as an error."""

    id = "transient-becomes-fatal"
    shows = ("error",)
    says = r"Input/output error|interrupted|errno"
    source = "docs/bugs.md, F9"
    breaks = "one request in a hundred fails with EIO"
    default_rate = 100

    def damage(self, request: Request, below: Below) -> Reply:
        """Fail with EIO."""
        raise BlockError(errno.EIO, "interrupted")


class AdvertisedNotImplemented(RequestMutant):
    """A command is advertised and does not work."""

    id = "advertised-not-implemented"
    shows = ("error",)
    says = r"not supported|Invalid argument|errno|Operation|Input/output error"
    source = "docs/bugs.md, G7"
    breaks = "write zeroes is advertised and always fails with EOPNOTSUPP"
    commands = (Command.WRITE_ZEROES,)

    def damage(self, request: Request, below: Below) -> Reply:
        """Refuse the request."""
        raise BlockError(errno.EOPNOTSUPP, "not implemented")


class FlushFails(RequestMutant):
    """Flush is advertised and fails."""

    id = "flush-fails"
    shows = ("error",)
    says = r"flush|Input/output error|success"
    source = "variant of advertised-not-implemented"
    breaks = "one flush in five fails with EIO"
    commands = (Command.FLUSH,)
    default_rate = 5

    def damage(self, request: Request, below: Below) -> Reply:
        """Refuse the request."""
        raise BlockError(errno.EIO, "the flush failed")


class _ErrorMutant(ReplyMutant):
    """A bug that damages replies which carry an error."""

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Carry out the request, and damage its reply, or the error that it raises."""
        return super().carry_out(request, lambda one: _reply_or_error(one, below))

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the request failed."""
        return reply.error != 0

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Report success."""
        reply.error = 0
        reply.on_wire = None


def _reply_or_error(request: Request, below: Below) -> Reply:
    try:
        return below(request)
    except BlockError as error:
        return Reply(error.errno)


class FlushErrorSwallowed(_ErrorMutant):
    """Errors of flushes are not checked."""

    id = "flush-error-swallowed"
    shows = ("error",)
    says = r"DID NOT RAISE|flush|FLUSH|expected an error"
    source = "gonbdserver issue 9, openzfs PR 17065"
    breaks = "a flush that fails is acknowledged"
    commands = (Command.FLUSH,)


class FlushErrorOnce(Mutant):
    """An error of a flush is reported once, and the data is dropped."""

    id = "flush-error-once"
    shows = ("lost write",)
    says = r"DID NOT RAISE|expected an error"
    source = "fsyncgate (PostgreSQL, 2018), QEMU d85fa9eb87"
    breaks = "after a flush that failed, the next flush succeeds and makes nothing durable"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Start without a failed flush."""
        self._failed = False

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note flushes that fail, and acknowledge the next one without carrying it out."""
        if request.command is not Command.FLUSH:
            return below(request)
        if self._failed:
            self._failed = False
            if self.strikes(request):
                return Reply()
        reply = _reply_or_error(request, below)
        self._failed = reply.error != 0
        return reply


class MissingObjectZeroFill(_ErrorMutant):
    """Data that cannot be read is replaced with zeroes."""

    id = "missing-object-zero-fill"
    shows = ("zeroed", "error")
    says = r"DID NOT RAISE|success|expected an error"
    source = "cortx-motr PR 1721, AWS EBS 2011"
    breaks = "a read that fails returns zeroes"
    commands = (Command.READ,)

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Report success, with zeroes."""
        super().damage_reply(request, reply)
        reply.data = bytes(request.length)
