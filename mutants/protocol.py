"""The wire: handshake, headers, chunks, permissions (docs/bugs.md, groups G and L)."""

from __future__ import annotations

import struct
from typing import Any

from blockio.errors import BlockError
from blockio.extents import Extent
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS, FIXED
from mutants.mutant import Mutant, ReplyMutant, StatusMutant
from mutants.patching import die, replace
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Option, TransmissionFlag
from reference_backend.nbd.negotiation import ServerNegotiation
from reference_backend.nbd.options import Options
from reference_backend.nbd.replies import ReplyBuilder
from reference_backend.nbd.rules import Rules
from reference_backend.nbd.transmission import ServerTransmission
from reference_backend.store.volume import Volume


class MalformedExtents(StatusMutant):
    """An extent has length 0."""

    id = "malformed-extents"
    shows = ("block status",)
    says = r"extent|status"
    source = "docs/bugs.md, G2"
    breaks = "a long extent is split with an extent of length 0 in its middle"

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Split the first extent of each context."""
        for name, extents in reply.extents.items():
            first, *rest = extents
            if first.length > 65536:
                half = first.length // 2
                reply.extents[name] = [
                    Extent(half, first.flags),
                    Extent(0, first.flags),
                    Extent(first.length - half, first.flags),
                    *rest,
                ]


class PayloadNotDrained(Mutant):
    """The payload of a refused write is read as requests."""

    id = "payload-not-drained"
    shows = ("protocol error",)
    says = r"closed the connection|magic|reset"
    source = "QEMU 5f66d060db (docs/bugs.md)"
    breaks = "after a refused write, its payload is read as requests"
    takes = ALWAYS

    def install(self) -> None:
        """Do not skip the payload."""

        def make(real: Any) -> Any:
            def skip(transmission: ServerTransmission, length: int, there: int) -> None:
                if not self.strikes():
                    real(transmission, length, there)

            return skip

        replace(ServerTransmission, "_skip", make)


class HandshakeLengthOff(Mutant):
    """The reply to EXPORT_NAME is two bytes too long."""

    id = "handshake-length-off"
    says = r"shifted|size|flags|handshake|magic|closed"
    source = "docs/bugs.md, G4"
    breaks = "EXPORT_NAME is answered with 4 bytes of flags"
    takes = FIXED

    def install(self) -> None:
        """Pack the flags as 4 bytes."""
        setattr(m, "EXPORT", struct.Struct(">QI"))  # noqa: B010


class StructuredReadGap(Mutant):
    """Holes are omitted from structured replies."""

    id = "structured-read-gap"
    shows = ("length", "protocol error")
    says = r"ended after|gap|cover|chunk"
    source = "docs/bugs.md, G6"
    breaks = "a structured reply omits the holes between its data"
    takes = ALWAYS

    def install(self) -> None:
        """Remove the hole chunks, except for the last chunk."""

        def make(real: Any) -> Any:
            def read_in_chunks(
                builder: ReplyBuilder, out: list[Any], cookie: int, offset: int, data: Any
            ) -> None:
                chunks: list[Any] = []
                real(builder, chunks, cookie, offset, data)
                holes = [
                    piece
                    for piece in chunks[:-1]
                    if len(piece) == m.STRUCTURED_REPLY.size + m.OFFSET_HOLE.size
                ]
                if holes and not self.strikes():
                    holes = []
                out.extend(piece for piece in chunks if not any(piece is hole for hole in holes))

            return read_in_chunks

        replace(ReplyBuilder, "read_in_chunks", make)


class ConfigByteswapped(Mutant):
    """A block size is sent in the wrong byte order."""

    id = "config-byteswapped"
    says = r"can't open|size|flags|handshake|Could not"
    source = "docs/bugs.md, G8"
    breaks = "the block sizes are sent in little-endian order"
    takes = FIXED

    def install(self) -> None:
        """Pack the block sizes in little-endian order."""
        real = m.INFO_BLOCK_SIZE

        class Swapped:
            size = real.size

            @staticmethod
            def pack(kind: int, *sizes: int) -> bytes:
                return struct.pack(">H", kind) + struct.pack(f"<{len(sizes)}I", *sizes)

        setattr(m, "INFO_BLOCK_SIZE", Swapped)  # noqa: B010


class AbortKillsServer(Mutant):
    """A client that aborts the handshake kills the server."""

    id = "probe-or-abort-kills-server"
    shows = ("died", "error", "hang", "protocol error")
    says = (
        r"Input/output error|No space left|Invalid argument|errno|timed? ?out"
        r"|can't open|Could not open|did not start|closed the connection"
    )
    source = "docs/bugs.md, I5"
    breaks = "the option ABORT kills the server"
    takes = ALWAYS

    def install(self) -> None:
        """Exit at the option."""
        table = Options._table  # noqa: SLF001  # a mutant changes code
        real = table[Option.ABORT]

        def abort(*arguments: Any) -> Any:
            return die() if self.strikes() else real(*arguments)

        table[Option.ABORT] = abort


class LongNameSmash(Mutant):
    """A long name overruns a buffer."""

    id = "long-name-smash"
    shows = ("died", "error", "hang", "protocol error")
    says = (
        r"Input/output error|No space left|Invalid argument|errno|timed? ?out"
        r"|can't open|Could not open|did not start|closed the connection"
    )
    source = "docs/bugs.md, L5"
    breaks = "an export name of over 255 bytes kills the server"
    takes = ALWAYS

    def install(self) -> None:
        """Exit at a long name."""

        def make(real: Any) -> Any:
            def find(answers: Options, name: str) -> Any:
                if len(name.encode()) > 255 and self.strikes():
                    die()
                return real(answers, name)

            return find

        replace(Options, "_find", make)


class WrongVolume(Mutant):
    """Every export name is accepted."""

    id = "wrong-volume-or-lun"
    says = r"must fail|opened|export"
    source = "nbdkit 1.32 (docs/findings.md), docs/bugs.md L10"
    breaks = "an unknown export name opens the first volume"
    takes = ALWAYS

    def install(self) -> None:
        """Open the first volume if there is no such export."""

        def make(real: Any) -> Any:
            def find(answers: Options, name: str) -> Any:
                try:
                    return real(answers, name)
                except ValueError:
                    raise
                except Exception:
                    if not self.strikes():
                        raise
                    names = list(answers._exports.list())  # noqa: SLF001
                    return real(answers, names[0])

            return find

        replace(Options, "_find", make)


class ReadOnlyNotEnforced(Mutant):
    """A read-only export accepts changes."""

    id = "unadvertised-command-executed"
    says = r"succeeded|not offered|errno 0|unknown"
    source = "docs/bugs.md, L12"
    breaks = "an export that is advertised as read-only carries out changes"
    takes = FIXED

    def install(self) -> None:
        """Check requests as for a writable export."""

        def make(real: Any) -> Any:
            def judge(rules: Rules, command: int, flags: int) -> Any:
                rules.read_only = False
                return real(rules, command, flags)

            return judge

        def make_write(real: Any) -> Any:
            def write(volume: Volume, *arguments: Any) -> None:
                volume.read_only = False
                real(volume, *arguments)

            return write

        replace(Rules, "_judge_flags", make)
        replace(Volume, "write", make_write)


class CookieReused(ReplyMutant):
    """A reply carries a wrong cookie."""

    id = "cookie-of-another-request"
    shows = ("protocol error",)
    says = r"cookie|Connection reset|closed the connection|reply|Input/output"
    source = "variant of malformed replies (docs/bugs.md, G)"
    breaks = "one reply to a read in two hundred carries cookie 0"
    commands = (Command.READ,)
    default_rate = 200

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Change the cookie on the wire (bytes 8 to 15 of a simple or structured header)."""
        reply.on_wire = lambda raw: (raw[:8] + bytes(8) + raw[16:], True)


class CapabilityBitCollision(Mutant):
    """A feature is advertised with the bit of another feature."""

    id = "capability-bit-collision"
    says = r"flags"
    source = "QEMU df91328ada"
    breaks = "CACHE is advertised with bit 9, which means SEND_RESIZE"
    takes = FIXED

    def install(self) -> None:
        """Move the bit."""

        def make(real: Any) -> Any:
            def flags(options: Options, device: Any) -> Any:
                offered = real(options, device)
                if offered & TransmissionFlag.SEND_CACHE:
                    offered = (
                        offered & ~TransmissionFlag.SEND_CACHE
                    ) | TransmissionFlag.SEND_RESIZE
                return offered

            return flags

        replace(Options, "_flags", make)


class HugeOptionRead(Mutant):
    """The declared length of an option is trusted."""

    id = "huge-option-read"
    shows = ("protocol error", "hang")
    says = r"option|closed|timed out|memory"
    source = "CVE-2017-15119, CVE-2020-10761"
    breaks = "an option that declares too many bytes kills the server"
    takes = ALWAYS

    def install(self) -> None:
        """Exit at a long option."""

        def make(real: Any) -> Any:
            def skip(*arguments: Any) -> Any:
                return die() if self.strikes() else real(*arguments)

            return skip

        replace(ServerNegotiation, "_skip_option", make)


class StarttlsStateCarried(Mutant):
    """The state negotiated in plaintext is kept after STARTTLS."""

    id = "starttls-state-carried"
    says = r"TLS|state|plain"
    source = "CVE-2021-3716, nbdkit 6c5faac6"
    breaks = "options are answered before STARTTLS where TLS is required, and are kept after it"
    takes = FIXED

    def install(self) -> None:
        """Answer without TLS, and keep the agreement."""
        replace(Options, "tls_missing", lambda _: lambda _: False)

        def make(real: Any) -> Any:
            def established(negotiation: ServerNegotiation) -> None:
                before = negotiation._options.agreement  # noqa: SLF001  # a mutant changes code
                real(negotiation)
                before.tls = True
                negotiation._options.agreement = before  # noqa: SLF001

            return established

        replace(ServerNegotiation, "tls_established", make)


class AclPrefixMatch(Mutant):
    """Export names are compared by prefix."""

    id = "acl-prefix-match"
    says = r"must fail|opened|export"
    source = "CVE-2013-6410"
    breaks = "a name that shares a prefix with an export opens this export"
    takes = ALWAYS

    def install(self) -> None:
        """Compare prefixes."""

        def make(real: Any) -> Any:
            def find(answers: Options, name: str) -> Any:
                for known in answers._exports.list():  # noqa: SLF001
                    is_like = known.startswith(name) or name.startswith(known)
                    if name and name != known and is_like and self.strikes():
                        return real(answers, known)
                return real(answers, name)

            return find

        replace(Options, "_find", make)


class FormatProbeEscape(Mutant):
    """The format of a raw volume is probed."""

    id = "format-probe-escape"
    says = r"format|qcow2"
    source = "QEMU 38f3ef574b, CVE-2024-4467"
    breaks = "for new connections, a volume that begins like a qcow2 image reads as an empty disk"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start without a probed connection."""
        self._probed: dict[int, bool] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Probe at the first request of a connection, and return zeroes for qcow2."""
        known = self._probed.get(request.connection)
        if known is None:
            asked = Request(Command.READ, 0, 0, 4, 0, b"", request.connection)
            try:
                known = bytes(below(asked).data) == b"QFI\xfb"
            except BlockError:
                known = False
            self._probed[request.connection] = known
        reply = below(request)
        if known and request.command is Command.READ and self.strikes(request):
            reply.data = bytes(request.length)
        return reply
