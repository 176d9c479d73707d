"""Options, limits and texts of the protocol (docs/bugs.md)."""

from __future__ import annotations

import errno
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS, FIXED
from mutants.mutant import Mutant, RequestMutant
from mutants.patching import die, replace
from reference_backend.nbd.constants import OptionReply, TransmissionFlag
from reference_backend.nbd.execution import Executor
from reference_backend.nbd.options import Options
from reference_backend.nbd.replies import ReplyBuilder

MIB = 1 << 20


class ListOmitsLast(Mutant):
    """LIST stops one export early."""

    id = "list-omits-last"
    says = r"LIST|list|export"
    source = "NBD document, NBD_OPT_LIST"
    breaks = "of several exports, LIST leaves the last one out"
    takes = ALWAYS

    def install(self) -> None:
        """Drop the reply before the last."""

        def make(real: Any) -> Any:
            def reply(options: Options, number: int, kind: OptionReply, data: bytes = b"") -> None:
                out = options._out  # noqa: SLF001  # a mutant changes code
                if number == 3 and kind == OptionReply.ACK and len(out) > 1 and self.strikes():
                    out.pop()
                real(options, number, kind, data)

            return reply

        replace(Options, "_reply", make)


class GoErrorEndsHandshake(Mutant):
    """An option that fails ends the connection."""

    id = "go-error-ends-handshake"
    shows = ("protocol error",)
    says = r"closed the connection|reset|unknown|early"
    source = "nbd 9ca2974"
    breaks = "after GO or INFO for an unknown export the connection is closed"
    takes = ALWAYS

    def install(self) -> None:
        """Raise instead of refusing."""

        def make(real: Any) -> Any:
            def find(options: Options, name: str) -> Any:
                try:
                    return real(options, name)
                except Exception as error:
                    if self.strikes():
                        raise ConnectionResetError from error
                    raise

            return find

        replace(Options, "_find", make)


class ExactMaximumRefused(RequestMutant):
    """The maximum is compared with the wrong operator."""

    id = "exact-maximum-refused"
    shows = ("error",)
    says = r"Invalid|errno|Input/output"
    source = "class known from limits that are off by one"
    breaks = "reads and writes of exactly 32 MiB, the advertised maximum, fail"
    commands = (Command.READ, Command.WRITE)

    def damages(self, request: Request) -> bool:
        """Return whether the request has the maximum."""
        return request.length == 32 * MIB

    def damage(self, request: Request, below: Below) -> Reply:
        """Refuse the request."""
        raise BlockError(errno.EINVAL, "too long")


class ReadOnlyNotAdvertised(Mutant):
    """The flag of a read-only export is missing."""

    id = "read-only-not-advertised"
    says = r"read.?only|READ_ONLY|flags|permitted|Permission"
    shows = ("error",)
    source = "class known from transmission flags (QEMU df91328ada)"
    breaks = "a read-only export does not have the flag READ_ONLY"
    takes = FIXED

    def install(self) -> None:
        """Clear the flag."""

        def make(real: Any) -> Any:
            return lambda options, device: real(options, device) & ~TransmissionFlag.READ_ONLY

        replace(Options, "_flags", make)


class DontFragmentIgnored(Mutant):
    """The flag DF has no effect."""

    id = "dont-fragment-ignored"
    shows = ("protocol error",)
    says = r"DF|chunk"
    source = "NBD document, NBD_CMD_FLAG_DF"
    breaks = "a read with DF over data and holes is answered in several chunks"
    takes = ALWAYS

    def install(self) -> None:
        """Ignore the flag."""

        def make(real: Any) -> Any:
            def read(
                builder: ReplyBuilder, out: Any, cookie: int, offset: int, data: Any, *,
                whole: bool = False,
            ) -> None:  # fmt: skip
                real(builder, out, cookie, offset, data, whole=whole and not self.strikes())

            return read

        replace(ReplyBuilder, "read", make)


class ErrorTextLeaksData(Mutant):
    """An error's text is made in a buffer that held data."""

    id = "error-text-leaks-data"
    says = r"secret|leak|other"
    shows = ("protocol error", "foreign")
    source = "class known from texts in uninitialised buffers"
    breaks = "the text of an error chunk is followed by data that another request wrote"

    def install(self) -> None:
        """Keep the last data, and append it to texts."""
        self._last = b""

        def make(real: Any) -> Any:
            def refuse(executor: Executor, out: Any, *error: Any) -> None:
                *fields, why = error
                text = self._last.decode("latin-1")
                real(executor, out, *fields, f"{why} {text}" if text else why)

            return refuse

        replace(Executor, "refuse", make)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the data of writes."""
        if request.command is Command.WRITE and self.strikes(request):
            self._last = bytes(request.payload[:64])
        return below(request)


class CacheLengthKills(RequestMutant):
    """A hint for a long range allocates as much."""

    id = "cache-length-kills"
    shows = ("died", "protocol error", "error", "hang")
    says = r"closed the connection|reset|errno"
    source = "class known from lengths that are trusted (CVE-2025-47711)"
    breaks = "a CACHE request of 64 MiB and more ends the server"
    commands = (Command.CACHE,)

    def damages(self, request: Request) -> bool:
        """Return whether the range is long."""
        return request.length >= 64 * MIB

    def damage(self, request: Request, below: Below) -> Reply:
        """End the server."""
        die()
