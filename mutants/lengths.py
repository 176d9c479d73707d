"""Large requests with flags, names of exports, LIST, overtaking writes, pauses (docs/bugs.md)."""

from __future__ import annotations

import threading
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants import clock
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, ReplyMutant, RequestMutant, changed
from mutants.patching import replace
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Option
from reference_backend.nbd.options import Options
from reference_backend.pool import Pool

_MIB = 1 << 20


class FastZeroIntLength(RequestMutant):
    """FAST_ZERO takes another path, with lengths as signed 32-bit numbers."""

    id = "fast-zero-int-length"
    shows = ("missing zeroes",)
    source = "QEMU and nbdkit on lengths of 2 GiB (docs/bugs.md)"
    breaks = "a write zeroes of 2 GiB and more with FAST_ZERO does nothing"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether the length is negative as a signed number."""
        return bool(request.flags & CommandFlag.FAST_ZERO) and request.length >= 1 << 31

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the request."""
        return Reply()


class FuaZeroesCut(RequestMutant):
    """Zeroes with FUA are written, one buffer long."""

    id = "fua-zeroes-cut"
    shows = ("missing zeroes",)
    source = "variant of write-zeroes-truncated"
    breaks = "a write zeroes with FUA zeroes its first 32 MiB only"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether the range is longer than the buffer."""
        return bool(request.flags & CommandFlag.FUA) and request.length > 32 * _MIB

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the first part."""
        return below(changed(request, length=32 * _MIB))


class CacheLongHangsUp(ReplyMutant):
    """A CACHE request is read into a buffer of its length."""

    id = "cache-long-hangs-up"
    shows = ("protocol error",)
    says = r"(closed|ended) the connection"
    source = "QEMU 2ddb6a2d (limits of CACHE and PREFETCH)"
    breaks = "a cache request of more than 64 MiB ends the connection"
    commands = (Command.CACHE,)

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the request is long."""
        return request.length > 64 * _MIB

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """End the connection."""
        reply.on_wire = lambda _: (b"", False)


class _Names(Mutant):
    """Names of volumes are not compared as a whole."""

    takes = ALWAYS

    def install(self) -> None:
        """Open another volume whose name seems to be the same."""

        def make(real: Any) -> Any:
            def open_volume(pool: Pool, name: str) -> Any:
                alike = [one for one in pool.list() if self.key(one) == self.key(name)]
                return real(pool, alike[0] if alike and self.strikes() else name)

            return open_volume

        replace(Pool, "open", make)

    def key(self, name: str) -> str:
        """Return what is compared."""
        raise NotImplementedError


class NameCutAt23(_Names):
    """Names are kept in 24 bytes."""

    id = "name-cut-at-23"
    shows = ("foreign", "lost write", "misplaced data")
    says = r"which is no export|bytes, expected"
    source = "variant of long-name-smash"
    breaks = "names are compared by their first 23 bytes"

    def key(self, name: str) -> str:
        """Return the first 23 letters."""
        return name[:23]


class NameFolded(_Names):
    """Names are compared without case, and without what is not ASCII."""

    id = "name-folded"
    shows = ("foreign", "lost write", "misplaced data")
    says = r"which is no export|bytes, expected"
    source = "variant of acl-prefix-match"
    breaks = "names are compared without regard to case and to letters beyond ASCII"

    def key(self, name: str) -> str:
        """Return the name in lower case, with ? for other letters."""
        return name.lower().encode("ascii", "replace").decode()


class _List(Mutant):
    """The replies to LIST are wrong."""

    takes = ALWAYS

    def install(self) -> None:
        """Change the replies, which the server has collected."""

        def make(real: Any) -> Any:
            def listed(options: Options, number: int, data: bytes) -> None:
                real(options, number, data)
                if len(options._out) > 1:  # noqa: SLF001  # a mutant changes code
                    self.change(options._out)  # noqa: SLF001

            return listed

        replace(Options, "_list", make)
        Options._table[Option.LIST] = Options._list  # noqa: SLF001

    def change(self, replies: list[bytes]) -> None:
        """Change the replies in place; the last one is ACK."""
        raise NotImplementedError


class ListMissesNames(_List):
    """LIST has room for 64 bytes of a name."""

    id = "list-misses-names"
    says = r"LIST"
    source = "variant of long-name-smash"
    breaks = "LIST leaves out exports with a name of more than 64 bytes"

    def change(self, replies: list[bytes]) -> None:
        """Remove the long ones."""
        longest = m.OPTION_REPLY.size + m.U32.size + 64
        replies[:] = [one for one in replies if len(one) <= longest or not self.strikes()]


class ListLengthShort(_List):
    """The length of a reply to LIST does not count the name."""

    id = "list-length-short"
    shows = ("protocol error",)
    says = r"LIST: export 1 declares 4 bytes"
    source = "variant of handshake-length-off"
    breaks = "the replies to LIST declare 4 bytes, and the name follows"

    def change(self, replies: list[bytes]) -> None:
        """Write another length."""
        if not self.strikes():
            return
        for number, reply in enumerate(replies[:-1]):
            magic, option, kind, _length = m.OPTION_REPLY.unpack_from(reply)
            head = m.OPTION_REPLY.pack(magic, option, kind, 4)
            replies[number] = head + reply[len(head) :]


class ListAckMissing(_List):
    """LIST is not ended."""

    id = "list-ack-missing"
    shows = ("hang",)
    says = r"LIST: no ACK after \d+ export"
    source = "variant of handshake-length-off"
    breaks = "the replies to LIST are not followed by ACK"

    def change(self, replies: list[bytes]) -> None:
        """Remove the end."""
        if self.strikes():
            del replies[-1]


class SmallOvertakesLarge(RequestMutant):
    """Large writes wait in a queue after they were acknowledged."""

    id = "small-overtakes-large"
    shows = ("lost write", "not linearizable", "torn")
    source = "variant of destage-reorder"
    breaks = "a write of up to 4 KiB into an acknowledged write of 16 KiB and more is overwritten"
    commands = (Command.WRITE, Command.WRITE_ZEROES)

    def install(self) -> None:
        """Start with no large write."""
        self._large: Request | None = None

    def observe(self, request: Request) -> None:
        """Forget the large write after any other request than a small change of it."""
        if request.command not in self.commands or request.length > 4096:
            self._large = request if request.command is Command.WRITE else None
            if self._large is not None and request.length < 16384:
                self._large = None

    def damages(self, request: Request) -> bool:
        """Return whether a small change lies within the large write."""
        large = self._large
        if large is None or large is request or request.length > 4096:
            return False
        end = request.offset + request.length
        return large.offset <= request.offset and end <= large.offset + large.length

    def damage(self, request: Request, below: Below) -> Reply:
        """Carry out the small change, then the large write."""
        reply = below(request)
        large, self._large = self._large, None
        assert large is not None
        below(changed(large))
        return reply


class IdleWriteLost(RequestMutant):
    """What comes first after a pause is lost."""

    id = "idle-write-lost"
    shows = ("lost write",)
    source = "nbd connections that a path drops after a pause (docs/bugs.md)"
    breaks = "the first write after a pause of 0.8 s on all connections is not carried out"
    commands = (Command.WRITE,)
    IDLE_S = 0.8

    def install(self) -> None:
        """Start without a pause."""
        self._at_s = clock.now_s()
        self._guard = threading.Lock()

    def damages(self, request: Request) -> bool:
        """Return whether there was a pause."""
        with self._guard:
            before, self._at_s = self._at_s, clock.now_s()
        return self._at_s - before > self.IDLE_S

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the request."""
        return Reply()


class IdleHeldFails(RequestMutant):
    """A watchdog ends what waits for too long."""

    id = "idle-read-fails"
    shows = ("error",)
    says = r"failed|errno"
    source = "watchdogs of idle connections (docs/bugs.md)"
    breaks = "the first read after a pause of 0.8 s fails with EIO"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start without a pause."""
        self._at_s = clock.now_s()

    def damages(self, request: Request) -> bool:
        """Return whether there was a pause."""
        before, self._at_s = self._at_s, clock.now_s()
        return self._at_s - before > IdleWriteLost.IDLE_S

    def damage(self, request: Request, below: Below) -> Reply:
        """Fail.

        :raise BlockError: always, with EIO.
        """
        raise BlockError(5, "the connection was idle")
