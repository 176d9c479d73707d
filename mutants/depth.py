"""Many requests in flight, shortages, refused requests, bytes of another (docs/bugs.md)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, RequestMutant, changed, read
from mutants.patching import replace
from reference_backend.nbd import options as server_options
from reference_backend.nbd.execution import Executor
from reference_backend.nbd.options import Options
from reference_backend.nbd.rules import Rules
from reference_backend.store.volume import Volume

_SHORTAGES = (errno.ENOMEM, errno.EAGAIN, errno.ENOSPC)
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class _FlushesSome(RequestMutant):
    """A flush makes only some of the writes since the last flush durable."""

    commands = (Command.FLUSH,)
    QUEUE = 64

    def install(self) -> None:
        """Start with no write."""
        self._writes: list[tuple[int, int]] = []

    def observe(self, request: Request) -> None:
        """Note the place of each write; other changes end the list."""
        if request.command is Command.WRITE:
            self._writes.append((request.offset, request.length))
        elif request.command is not Command.READ and request.command is not Command.FLUSH:
            self._writes.clear()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Forget the writes after a flush."""
        reply = super().carry_out(request, below)
        if request.command is Command.FLUSH:
            self._writes.clear()
        return reply

    def kept(self) -> list[tuple[int, int]]:
        """Return the writes that the flush makes durable."""
        raise NotImplementedError

    def damages(self, request: Request) -> bool:
        """Return whether more writes wait than the queue is long."""
        return len(self._writes) >= self.QUEUE and len(self.kept()) < len(self._writes)

    def damage(self, request: Request, below: Below) -> Reply:
        """Make the kept writes durable, by writing their data again with FUA."""
        for offset, length in self.kept():
            data = read(request, below, offset, length)
            fua = int(CommandFlag.FUA)
            below(changed(request, Command.WRITE, offset, length, data, fua))
        return Reply()


class FlushCoversLast64(_FlushesSome):
    """A flush knows the writes in a ring of 64 entries."""

    id = "flush-covers-last-64"
    shows = ("lost write",)
    source = "rings of in-flight writes (docs/bugs.md)"
    breaks = "a flush makes only the last 64 of more writes durable"

    def kept(self) -> list[tuple[int, int]]:
        """Return the last ones."""
        return self._writes[-self.QUEUE :]


class FlushSkipsLargeAtDepth(_FlushesSome):
    """Large writes wait in a queue of their own."""

    id = "flush-skips-large-at-depth"
    shows = ("lost write",)
    source = "variant of flush-one-child-only"
    breaks = "a flush after 64 and more writes makes those of 16 KiB and more not durable"

    def kept(self) -> list[tuple[int, int]]:
        """Return the small ones."""
        return [(offset, length) for offset, length in self._writes if length < 16384]


class ShortageLosesNeighbour(RequestMutant):
    """After a shortage the request behind is taken for the one that failed."""

    id = "shortage-loses-neighbour"
    shows = ("lost write",)
    source = "SPDK 9468fe64fc, QEMU 00e3cccdf4 (queues of requests that wait for memory)"
    breaks = "the write after a request that failed with ENOMEM, EAGAIN or ENOSPC is not done"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without a shortage."""
        self._is_short = False

    def damages(self, request: Request) -> bool:
        """Return whether the request before met a shortage."""
        is_short, self._is_short = self._is_short, False
        return is_short

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the request."""
        return Reply()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note a shortage.

        :raise BlockError: the request failed below.
        """
        try:
            reply = super().carry_out(request, below)
        except BlockError as error:
            self._is_short = error.errno in _SHORTAGES
            raise
        self._is_short |= reply.error in _SHORTAGES
        return reply


class RefusedWritePartial(Mutant):
    """A write is checked while it runs."""

    id = "refused-write-partial"
    shows = ("lost write", "misplaced data", "altered", "unknown", "torn", "foreign")
    source = "variant of oob-past-end"
    breaks = "a write across the end fails, after its part within the volume was written"
    takes = ALWAYS

    def install(self) -> None:
        """Leave the check to the volume, which writes the part within first."""

        def judge(real: Any) -> Any:
            def judge_range(rules: Rules, command: int, offset: int, length: int) -> Any:
                verdict = real(rules, command, offset, length)
                is_across = offset < rules._device.size < offset + length  # noqa: SLF001
                is_full = verdict is not None and verdict[0] == errno.ENOSPC
                return None if command == Command.WRITE and is_across and is_full else verdict

            return judge_range

        def write(real: Any) -> Any:
            def write_within(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                inside = volume.size - offset
                if 0 < inside < len(data) and not volume.read_only and self.strikes():
                    real(volume, offset, data[:inside], fua)
                real(volume, offset, data, fua)

            return write_within

        replace(Rules, "_judge_range", judge)
        replace(Volume, "write", write)


class RefusedFlagExecuted(Mutant):
    """Flags are checked after the request was carried out."""

    id = "refused-flag-executed"
    shows = ("zeroed", "block status")
    source = "variant of unadvertised-command-executed"
    breaks = "write zeroes and discards with an unknown flag are carried out, then refused"
    takes = ALWAYS

    def install(self) -> None:
        """Zero the range first."""

        def make(real: Any) -> Any:
            def execute(executor: Executor, out: list[Any], *fields: Any) -> None:
                flags, command, _cookie, offset, length, _payload = fields
                is_wrong = command in _CHANGES[1:] and flags & ~0x3F
                inside = offset + length <= executor.device.size and length
                if is_wrong and inside and not executor.device.read_only and self.strikes():
                    executor.device.discard(offset, length, False)
                real(executor, out, *fields)

            return execute

        replace(Executor, "execute", make)


class _ShowsAnother(Mutant):
    """A buffer of the handshake is used again without being cleared."""

    takes = ALWAYS

    def install(self) -> None:
        """Keep the data of the last option, of any client."""
        self._last = b""

        def make(real: Any) -> Any:
            def answer(options: Options, number: int, data: bytes) -> list[bytes]:
                replies: list[bytes] = real(options, number, data)
                if len(data) > 8:
                    self._last = data
                return replies

            return answer

        replace(Options, "answer", make)
        self.show(lambda: self._last)

    def show(self, last: Callable[[], bytes]) -> None:
        """Patch the place that shows it."""
        raise NotImplementedError


class ErrorTextOfAnother(_ShowsAnother):
    """The text of an error is longer than what was put into it."""

    id = "error-text-of-another"
    says = r"another client"
    source = "uninitialised buffers in replies (docs/bugs.md)"
    breaks = "the text of a failed option ends with data of the last option of any client"

    def show(self, last: Callable[[], bytes]) -> None:
        """Append it to the text."""

        def make(real: Any) -> Any:
            def text(message: str) -> bytes:
                right: bytes = real(message)
                rest = last()
                return right + rest[len(right) :] if rest and self.strikes() else right

            return text

        replace(server_options, "_text", make)


class PaddingOfAnother(_ShowsAnother):
    """The padding of EXPORT_NAME is not cleared."""

    id = "padding-of-another"
    says = r"another client"
    source = "uninitialised buffers in replies (docs/bugs.md)"
    breaks = "the 124 bytes after the reply to EXPORT_NAME are data of another client"

    def show(self, last: Callable[[], bytes]) -> None:
        """Replace the padding."""

        def make(real: Any) -> Any:
            def export_name(options: Options, data: bytes, *, no_zeroes: bool) -> bytes:
                right: bytes = real(options, data, no_zeroes=no_zeroes)
                rest = last()[:124]
                if no_zeroes or not rest or not self.strikes():
                    return right
                return right[:-124] + rest.ljust(124, b"\0")

            return export_name

        replace(Options, "export_name", make)
