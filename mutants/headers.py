"""Extended headers, several metadata contexts, lengths around 4 GiB (docs/bugs.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blockio.errors import BlockError
from blockio.extents import Extent
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, RequestMutant, StatusMutant, changed
from mutants.patching import replace
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.execution import Executor
from reference_backend.nbd.replies import ReplyBuilder

GIB = 1 << 30
_WRAP = 1 << 32
Extents = dict[int, Sequence[Extent]]


class ContextsShareFlags(StatusMutant):
    """Two contexts are collected in one list."""

    id = "contexts-share-flags"
    shows = ("block status",)
    source = "NBD document, NBD_REPLY_TYPE_BLOCK_STATUS"
    breaks = "with several metadata contexts, the second one repeats the extents of the first"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether there are two contexts that differ."""
        answers = list(reply.extents.values())
        return len(answers) > 1 and answers[0] != answers[1]

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Copy the first answer."""
        first, second, *_ = reply.extents
        reply.extents[second] = reply.extents[first]


class StatusDonePerContext(Mutant):
    """The end of a reply is sent with each context."""

    id = "status-done-per-context"
    shows = ("block status", "protocol error")
    source = "variant of malformed-extents"
    breaks = "each chunk of a block status with several contexts has the flag DONE"
    takes = ALWAYS

    def install(self) -> None:
        """Build the reply of each context alone."""

        def make(real: Any) -> Any:
            def status(
                builder: ReplyBuilder, out: list[Any], cookie: int, offset: int, extents: Extents
            ) -> None:
                if len(extents) < 2 or not self.strikes():
                    real(builder, out, cookie, offset, extents)
                    return
                for key, found in extents.items():
                    real(builder, out, cookie, offset, {key: found})

            return status

        replace(ReplyBuilder, "status", make)


class StatusDoneMissing(Mutant):
    """A reply whose contexts were filtered never ends."""

    id = "status-done-missing"
    shows = ("block status", "protocol error", "hang")
    source = "NBD document, NBD_REPLY_FLAG_DONE"
    breaks = "with extended headers, the last chunk of a status of several contexts lacks DONE"
    takes = ALWAYS

    def install(self) -> None:
        """Build a longer reply and drop its last chunk."""

        def make(real: Any) -> Any:
            def status(
                builder: ReplyBuilder, out: list[Any], cookie: int, offset: int, extents: Extents
            ) -> None:
                is_case = builder.mode is ReplyMode.EXTENDED and len(extents) > 1
                if not is_case or not self.strikes():
                    real(builder, out, cookie, offset, extents)
                    return
                pieces: list[Any] = []
                real(builder, pieces, cookie, offset, {**extents, 99: [Extent(1, 0)]})
                out.extend(pieces[:-1])

            return status

        replace(ReplyBuilder, "status", make)


class PayloadFilterIgnored(Mutant):
    """The list of contexts in a request is ignored."""

    id = "payload-filter-ignored"
    shows = ("block status",)
    source = "NBD document, NBD_FLAG_BLOCK_STAT_PAYLOAD"
    breaks = "a block status that asks for one context by its payload gets all contexts"
    takes = ALWAYS

    def install(self) -> None:
        """Parse the length alone."""

        def make(real: Any) -> Any:
            def parse(executor: Executor, payload: Any) -> tuple[int, dict[int, str]]:
                length, contexts = real(executor, payload)
                if len(contexts) < len(executor.contexts) and length and self.strikes():
                    return length, executor.contexts
                return length, contexts

            return parse

        replace(Executor, "_parse_status_payload", make)


class Extent32BitWrap(Mutant):
    """Lengths of extents are kept in 32 bits."""

    id = "extent-32bit-wrap"
    shows = ("block status", "protocol error")
    source = "nbdkit CVE-2025-47712"
    breaks = "an extent of 4 GiB and more is sent with its length modulo 4 GiB"
    takes = ALWAYS

    def install(self) -> None:
        """Cut the lengths."""

        def make(real: Any) -> Any:
            def status(
                builder: ReplyBuilder, out: list[Any], cookie: int, offset: int, extents: Extents
            ) -> None:
                long = any(one.length >= _WRAP for found in extents.values() for one in found)
                if long and self.strikes():
                    extents = {
                        key: [Extent(one.length % _WRAP or one.length, one.flags) for one in found]
                        for key, found in extents.items()
                    }
                real(builder, out, cookie, offset, extents)

            return status

        replace(ReplyBuilder, "status", make)


class StatusLengthWrap(RequestMutant):
    """The length of a block status is rounded up in 32 bits."""

    id = "status-length-wrap"
    shows = ("error", "block status")
    source = "nbdkit CVE-2025-47711"
    breaks = "a block status of more than 2^32 - 4096 and less than 2^32 bytes fails"
    commands = (Command.BLOCK_STATUS,)

    def damages(self, request: Request) -> bool:
        """Return whether rounding up to 4096 bytes gives 2^32."""
        return _WRAP - 4096 < request.length < _WRAP

    def damage(self, request: Request, below: Below) -> Reply:
        """Fail, as a length of 0 does.

        :raise BlockError: always, with EINVAL.
        """
        raise BlockError(22, "block status of nothing")


class ZeroesLengthWrap(RequestMutant):
    """The length of zeroes and discards is kept in 32 bits."""

    id = "zeroes-length-wrap"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "NBD document, extended headers"
    breaks = "a write zeroes of 4 GiB and more zeroes its length modulo 4 GiB"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether the length needs more than 32 bits."""
        return request.length >= _WRAP

    def damage(self, request: Request, below: Below) -> Reply:
        """Cut the length."""
        return below(changed(request, length=request.length % _WRAP))
