"""Errors that are lost, changed or made up (docs/bugs.md, group F)."""

from __future__ import annotations

import errno
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant
from mutants.patching import replace
from reference_backend.nbd.execution import Executor
from reference_backend.rule_layer import RulePlace


class AsyncErrorIgnored(Mutant):
    """Errors of writes are not looked at."""

    id = "async-error-ignored"
    shows = ("error",)
    says = r"simple reply|DID NOT RAISE|succe|errno"
    source = "docs/bugs.md, F1"
    breaks = "writes that fail are acknowledged"
    takes = ALWAYS

    def install(self) -> None:
        """Answer success in place of a refusal."""

        def make(real: Any) -> Any:
            def refuse(  # noqa: PLR0917
                executor: Executor, out: Any, cookie: int, offset: int, number: int, why: str
            ) -> None:
                if self.strikes():
                    executor.replies.succeed(out, cookie, 0)
                else:
                    real(executor, out, cookie, offset, number, why)

            return refuse

        replace(Executor, "refuse", make)


class ErrnoCollapsed(Mutant):
    """Every error is EIO."""

    id = "errno-collapsed"
    shows = ("error",)
    says = r"errno|Input/output error|Invalid"
    source = "docs/bugs.md, F4"
    breaks = "every error is reported as EIO"
    takes = ALWAYS

    def install(self) -> None:
        """Forget the number."""

        def make(real: Any) -> Any:
            def refuse(  # noqa: PLR0917
                executor: Executor, out: Any, cookie: int, offset: int, number: int, why: str
            ) -> None:
                told = errno.EIO if self.strikes() else number
                real(executor, out, cookie, offset, told, why)

            return refuse

        replace(Executor, "refuse", make)


class ErrorKillsConnection(Mutant):
    """A failed request ends the connection."""

    id = "error-kills-connection"
    shows = ("protocol error",)
    says = r"closed the connection|reset|Broken pipe|shutdown"
    source = "docs/bugs.md, F7"
    breaks = "a request that must fail ends the connection"
    takes = ALWAYS

    def install(self) -> None:
        """Raise what ends a connection."""

        def make(real: Any) -> Any:
            def refuse(*arguments: Any) -> None:
                if self.strikes():
                    raise ConnectionResetError
                real(*arguments)

            return refuse

        replace(Executor, "refuse", make)


class TransientBecomesFatal(Mutant):
    """EINTR is an error."""

    id = "transient-becomes-fatal"
    shows = ("error",)
    says = r"Input/output error|interrupted|errno"
    source = "docs/bugs.md, F9"
    breaks = "one request in a hundred fails with EIO"
    usual_rate = 100

    def meddle(self, request: Request, below: Below) -> Reply:
        """Be interrupted."""
        if self.strikes(request):
            raise BlockError(errno.EIO, "interrupted")
        return below(request)


class AdvertisedNotImplemented(Mutant):
    """A command is offered and does not work."""

    id = "advertised-not-implemented"
    shows = ("error",)
    says = r"not supported|Invalid argument|errno|Operation|Input/output error"
    source = "docs/bugs.md, G7"
    breaks = "write-zeroes is offered and always fails with ENOTSUP"
    commands = (Command.WRITE_ZEROES,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Refuse."""
        if request.command is Command.WRITE_ZEROES and self.strikes(request):
            raise BlockError(errno.EOPNOTSUPP, "not implemented")
        return below(request)


class FlushFails(Mutant):
    """A flush is offered and fails."""

    id = "flush-fails"
    shows = ("error",)
    says = r"flush|Input/output error|success"
    source = "variant of advertised-not-implemented"
    breaks = "one flush in five fails with EIO"
    commands = (Command.FLUSH,)
    usual_rate = 5

    def meddle(self, request: Request, below: Below) -> Reply:
        """Refuse."""
        if request.command is Command.FLUSH and self.strikes(request):
            raise BlockError(errno.EIO, "no flush today")
        return below(request)


def _around_rules(change: Any) -> None:
    """Let ``change(request, reply)`` see what comes from beneath, with its injected errors."""

    def make(real: Any) -> Any:
        def handle(place: RulePlace, request: Request, below: Below) -> Reply:
            try:
                reply = real(place, request, below)
            except BlockError as error:
                reply = Reply(error.errno)
            changed_: Reply = change(request, reply)
            return changed_

        return handle

    replace(RulePlace, "handle", make)


class FlushErrorSwallowed(Mutant):
    """A flush that fails is a flush."""

    id = "flush-error-swallowed"
    shows = ("error",)
    says = r"DID NOT RAISE|flush"
    source = "gonbdserver issue 9, openzfs PR 17065"
    breaks = "a flush that fails is acknowledged"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Say yes."""

        def swallow(request: Request, reply: Reply) -> Reply:
            has_failed = request.command is Command.FLUSH and reply.error
            return Reply() if has_failed and self.strikes(request) else reply

        _around_rules(swallow)


class FlushErrorOnce(Mutant):
    """An error of a flush is told once, and the data is forgotten."""

    id = "flush-error-once"
    shows = ("lost write",)
    says = r"DID NOT RAISE"
    source = "fsyncgate (PostgreSQL, 2018), QEMU d85fa9eb87"
    breaks = "after a flush that failed, the next one succeeds and does nothing"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Nothing has failed."""
        self._failed = False

        def note(request: Request, reply: Reply) -> Reply:
            if request.command is Command.FLUSH and reply.error:
                self._failed = True
            return reply

        _around_rules(note)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Skip one flush."""
        if request.command is Command.FLUSH and self._failed:
            self._failed = False
            if self.strikes(request):
                return Reply()
        return below(request)


class MissingObjectZeroFill(Mutant):
    """What cannot be read reads as zeroes."""

    id = "missing-object-zero-fill"
    shows = ("zeroed", "error")
    says = r"DID NOT RAISE|success"
    source = "cortx-motr PR 1721, AWS EBS 2011"
    breaks = "a read that fails returns zeroes"
    commands = (Command.READ,)

    def install(self) -> None:
        """Make some."""

        def fill(request: Request, reply: Reply) -> Reply:
            if request.command is Command.READ and reply.error and self.strikes(request):
                return Reply(data=bytes(request.length))
            return reply

        _around_rules(fill)
