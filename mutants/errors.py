"""Errors that are lost, changed or made up (docs/bugs.md, group F)."""

from __future__ import annotations

import errno
from typing import Any

from mutants.mutant import Mutant
from mutants.patching import replace
from reference_backend.layers import Below, Command, Reply, Request
from reference_backend.nbd.execution import Executor
from reference_backend.store.errors import BlockError


class AsyncErrorIgnored(Mutant):
    """Errors of writes are not looked at."""

    id = "async-error-ignored"
    source = "docs/bugs.md, F1"
    breaks = "writes that fail are acknowledged"

    def install(self) -> None:
        """Answer success in place of a refusal."""

        def make(_: Any) -> Any:
            def refuse(  # noqa: PLR0917
                executor: Executor, out: Any, cookie: int, offset: int, number: int, why: str
            ) -> None:
                del offset, number, why
                executor.replies.succeed(out, cookie, 0)

            return refuse

        replace(Executor, "refuse", make)


class ErrnoCollapsed(Mutant):
    """Every error is EIO."""

    id = "errno-collapsed"
    source = "docs/bugs.md, F4"
    breaks = "every error is reported as EIO"

    def install(self) -> None:
        """Forget the number."""

        def make(real: Any) -> Any:
            def refuse(  # noqa: PLR0917
                executor: Executor, out: Any, cookie: int, offset: int, number: int, why: str
            ) -> None:
                del number
                real(executor, out, cookie, offset, errno.EIO, why)

            return refuse

        replace(Executor, "refuse", make)


class ErrorKillsConnection(Mutant):
    """A failed request ends the connection."""

    id = "error-kills-connection"
    source = "docs/bugs.md, F7"
    breaks = "a request that must fail ends the connection"

    def install(self) -> None:
        """Raise what ends a connection."""

        def make(_: Any) -> Any:
            def refuse(*_: Any) -> None:
                raise ConnectionResetError

            return refuse

        replace(Executor, "refuse", make)


class TransientBecomesFatal(Mutant):
    """EINTR is an error."""

    id = "transient-becomes-fatal"
    source = "docs/bugs.md, F9"
    breaks = "one request in a hundred fails with EIO"
    usual_rate = 100

    def handle(self, request: Request, below: Below) -> Reply:
        """Be interrupted."""
        if self.strikes():
            raise BlockError(errno.EIO, "interrupted")
        return below(request)


class AdvertisedNotImplemented(Mutant):
    """A command is offered and does not work."""

    id = "advertised-not-implemented"
    source = "docs/bugs.md, G7"
    breaks = "write-zeroes is offered and always fails with ENOTSUP"

    def handle(self, request: Request, below: Below) -> Reply:
        """Refuse."""
        if request.command is Command.WRITE_ZEROES:
            raise BlockError(errno.EOPNOTSUPP, "not implemented")
        return below(request)


class FlushFails(Mutant):
    """A flush is offered and fails."""

    id = "flush-fails"
    source = "variant of advertised-not-implemented"
    breaks = "one flush in five fails with EIO"
    usual_rate = 5

    def handle(self, request: Request, below: Below) -> Reply:
        """Refuse."""
        if request.command is Command.FLUSH and self.strikes():
            raise BlockError(errno.EIO, "no flush today")
        return below(request)
