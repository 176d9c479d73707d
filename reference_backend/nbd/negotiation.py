"""The handshake, as a server sees it: bytes in, bytes out, a state.

NBD document, "Handshake": fixed newstyle. The states and what moves between them:

    CLIENT_FLAGS --flags--> OPTIONS --EXPORT_NAME, GO--> TRANSMISSION
                            OPTIONS --STARTTLS--> TLS --tls_established()--> OPTIONS
                            OPTIONS --ABORT--> CLOSED;  any --violation--> RemoteProtocolError
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Info, Option, OptionReply
from reference_backend.nbd.errors import LocalProtocolError, RemoteProtocolError
from reference_backend.nbd.settings import Device, Exports, Features, Limits, TlsMode
from reference_backend.store.errors import BlockError, StoreError


class Phase(enum.Enum):
    """Where a server's handshake stands."""

    CLIENT_FLAGS = "client flags"
    OPTIONS = "options"
    TLS = "TLS upgrade"
    TRANSMISSION = "transmission"
    CLOSED = "closed"


class ReplyMode(enum.IntEnum):
    """Which replies and headers the transmission uses; each is more than the one before."""

    SIMPLE = 0
    STRUCTURED = 1
    EXTENDED = 2


@dataclass(slots=True)
class Agreement:
    """What the handshake agreed on."""

    export: str = ""
    device: Device | None = None
    mode: ReplyMode = ReplyMode.SIMPLE
    flags: c.TransmissionFlag = c.TransmissionFlag(0)
    contexts: dict[int, str] = field(default_factory=dict)
    """Metadata contexts by the id that travels."""
    context_export: str = ""
    tls: bool = False


class _Refuse(Exception):  # noqa: N818
    """An option fails with this reply type; the handshake goes on."""

    def __init__(self, reply: OptionReply, message: str) -> None:
        super().__init__(message)
        self.reply = reply


class ServerNegotiation:
    """A server's handshake.

    ``greeting()`` comes first; then ``receive(data)`` returns what to send. When ``phase`` becomes
    TRANSMISSION, ``agreement`` says what was agreed and ``trailing()`` gives the bytes that followed.
    """

    def __init__(
        self,
        exports: Exports,
        features: Features | None = None,
        limits: Limits | None = None,
        tls: TlsMode = TlsMode.OFF,
        *,
        read_only: bool = False,
    ) -> None:
        self.features = features or Features()
        self.limits = limits or Limits()
        self.phase = Phase.CLIENT_FLAGS
        self.agreement = Agreement()
        self._exports = exports
        self._tls = tls
        self._read_only = read_only
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._skip = 0
        self._seen = 0
        self._fixed = False
        self._no_zeroes = False

    def greeting(self) -> bytes:
        """Return the server's first bytes ("Newstyle negotiation")."""
        flags = 0
        if self.features.fixed_newstyle:
            flags |= c.HandshakeFlag.FIXED_NEWSTYLE
        if self.features.no_zeroes:
            flags |= c.HandshakeFlag.NO_ZEROES
        return m.GREETING.pack(c.INIT_MAGIC, c.OPTION_MAGIC, flags)

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent; return what to send.

        :raise RemoteProtocolError: the client broke a rule that has no error reply; close.
        """
        self._buffer += data
        while self._step():
            pass
        out = b"".join(self._out)
        self._out.clear()
        return out

    def trailing(self) -> bytes:
        """Return the bytes after the handshake: they belong to the transmission phase."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def tls_established(self) -> None:
        """Go on after the TLS handshake; all that was negotiated before is void ("STARTTLS").

        :raise LocalProtocolError: no upgrade was asked for.
        """
        if self.phase is not Phase.TLS:
            msg = f"TLS was established in phase {self.phase.value}"
            raise LocalProtocolError(msg)
        self.agreement = Agreement(tls=True)
        self.phase = Phase.OPTIONS

    # -- one message at a time

    def _step(self) -> bool:
        if self.phase is Phase.CLIENT_FLAGS:
            return self._take_flags()
        if self.phase is Phase.OPTIONS:
            return self._drop_skipped() and self._take_option()
        if self.phase is Phase.TLS and self._buffer:
            msg = "plaintext after STARTTLS, before the TLS handshake"
            raise RemoteProtocolError(msg)
        return False

    def _take_flags(self) -> bool:
        if len(self._buffer) < m.CLIENT_FLAGS.size:
            return False
        (flags,) = m.CLIENT_FLAGS.unpack_from(self._buffer)
        del self._buffer[: m.CLIENT_FLAGS.size]
        known = 0
        if self.features.fixed_newstyle:
            known |= c.ClientFlag.FIXED_NEWSTYLE
        if self.features.no_zeroes:
            known |= c.ClientFlag.NO_ZEROES
        if flags & ~known:
            msg = f"client flags {flags:#x} are not known"
            raise RemoteProtocolError(msg)
        self._fixed = bool(flags & c.ClientFlag.FIXED_NEWSTYLE)
        self._no_zeroes = bool(flags & c.ClientFlag.NO_ZEROES)
        self.phase = Phase.OPTIONS
        return True

    def _drop_skipped(self) -> bool:
        dropped = min(self._skip, len(self._buffer))
        del self._buffer[:dropped]
        self._skip -= dropped
        return not self._skip

    def _take_option(self) -> bool:
        if len(self._buffer) < m.OPTION.size:
            return False
        magic, number, length = m.OPTION.unpack_from(self._buffer)
        if magic != c.OPTION_MAGIC:
            msg = f"option magic is {magic:#x}"
            raise RemoteProtocolError(msg)
        if length > self.limits.option_length:
            self._start_skipping(number, length)
            return True
        if len(self._buffer) < m.OPTION.size + length:
            return False
        data = bytes(self._buffer[m.OPTION.size : m.OPTION.size + length])
        del self._buffer[: m.OPTION.size + length]
        self._count_option()
        self._answer(number, data)
        return True

    def _count_option(self) -> None:
        self._seen += 1
        if self._seen > self.limits.options:
            msg = f"more than {self.limits.options} options"
            raise RemoteProtocolError(msg)

    def _start_skipping(self, number: int, length: int) -> None:
        """Refuse an option that is too long; its data will be thrown away (ERR_TOO_BIG)."""
        self._count_option()
        if number == Option.EXPORT_NAME or length > self.limits.option_skip:
            msg = f"option {number} declares {length} bytes"
            raise RemoteProtocolError(msg)
        del self._buffer[: m.OPTION.size]
        self._skip = length
        self._refuse(number, OptionReply.ERR_TOO_BIG, f"{length} bytes are too long")

    def _answer(self, number: int, data: bytes) -> None:
        if number == Option.EXPORT_NAME:
            self._export_name(data)
            return
        if not self._fixed:
            msg = f"option {number} needs fixed newstyle, which the client did not agree to"
            raise RemoteProtocolError(msg)
        try:
            if self._tls_missing() and number not in (Option.STARTTLS, Option.ABORT):
                raise _Refuse(OptionReply.ERR_TLS_REQD, "this server insists on TLS")
            handler = _HANDLERS.get(number)
            if handler is None:
                raise _Refuse(OptionReply.ERR_UNSUP, f"option {number} is not known")
            handler(self, number, data)
        except _Refuse as refusal:
            self._refuse(number, refusal.reply, str(refusal))

    def _tls_missing(self) -> bool:
        return self._tls is TlsMode.REQUIRED and not self.agreement.tls

    def _reply(self, number: int, reply: OptionReply, data: bytes = b"") -> None:
        self._out.append(m.option_reply(number, reply, data))

    def _refuse(self, number: int, reply: OptionReply, message: str) -> None:
        self._reply(number, reply, message.encode()[: c.NAME_MAX])

    # -- options; each is named by its section in "Option types"

    def _export_name(self, data: bytes) -> None:
        """EXPORT_NAME: no error reply exists, so any failure ends the session."""
        if self._tls_missing():
            msg = "EXPORT_NAME without TLS, which this server insists on"
            raise RemoteProtocolError(msg)
        name = m.decode_name(data)
        try:
            device = self._find(name)
        except _Refuse as refusal:
            raise RemoteProtocolError(str(refusal)) from refusal
        flags = self._flags(device)
        self._out.append(m.EXPORT.pack(device.size, flags))
        if not self._no_zeroes:
            self._out.append(bytes(c.EXPORT_ZEROES))
        self._enter(name, device, flags)

    def _abort(self, number: int, data: bytes) -> None:
        self._reply(number, OptionReply.ACK)
        self.phase = Phase.CLOSED

    def _list(self, number: int, data: bytes) -> None:
        self._no_data(data)
        for name in self._exports.list():
            self._reply(number, OptionReply.SERVER, m.string(name))
        self._reply(number, OptionReply.ACK)

    def _starttls(self, number: int, data: bytes) -> None:
        self._no_data(data)
        if self.agreement.tls:
            raise _Refuse(OptionReply.ERR_INVALID, "TLS is on already")
        if self._tls is TlsMode.OFF:
            raise _Refuse(OptionReply.ERR_POLICY, "this server does without TLS")
        self._reply(number, OptionReply.ACK)
        self.phase = Phase.TLS

    def _info(self, number: int, data: bytes) -> None:
        """INFO and GO: tell of an export; GO enters it."""
        name, wanted = self._parse_info(data)
        device = self._find(name)
        flags = self._flags(device)
        self._reply(
            number, OptionReply.INFO, m.INFO_EXPORT.pack(Info.EXPORT, device.size, flags)
        )
        if Info.NAME in wanted:
            self._reply(number, OptionReply.INFO, m.U16.pack(Info.NAME) + name.encode())
        if Info.DESCRIPTION in wanted:
            text = f"{name or 'default export'}, {device.size} bytes"
            self._reply(number, OptionReply.INFO, m.U16.pack(Info.DESCRIPTION) + text.encode())
        if Info.BLOCK_SIZE in wanted and self.features.block_size:
            sizes = m.INFO_BLOCK_SIZE.pack(Info.BLOCK_SIZE, *self._block_sizes(device))
            self._reply(number, OptionReply.INFO, sizes)
        self._reply(number, OptionReply.ACK)
        if number == Option.GO:
            self._enter(name, device, flags)

    def _parse_info(self, data: bytes) -> tuple[str, set[int]]:
        name, at = self._take_name(data)
        if len(data) - at < m.U16.size:
            raise _Refuse(OptionReply.ERR_INVALID, "the count of information requests is missing")
        (count,) = m.U16.unpack_from(data, at)
        at += m.U16.size
        if len(data) - at != count * m.U16.size:
            raise _Refuse(OptionReply.ERR_INVALID, "the count of information requests is wrong")
        return name, set(struct.unpack_from(f">{count}H", data, at))

    def _structured_reply(self, number: int, data: bytes) -> None:
        self._no_data(data)
        if not self.features.structured:
            raise _Refuse(OptionReply.ERR_UNSUP, "structured replies are off")
        if self.agreement.mode is ReplyMode.EXTENDED:
            raise _Refuse(OptionReply.ERR_EXT_HEADER_REQD, "extended headers were agreed on")
        if self.agreement.mode is ReplyMode.STRUCTURED:
            raise _Refuse(OptionReply.ERR_INVALID, "structured replies were agreed on already")
        self.agreement.mode = ReplyMode.STRUCTURED
        self._reply(number, OptionReply.ACK)

    def _extended_headers(self, number: int, data: bytes) -> None:
        self._no_data(data)
        if not self.features.extended:
            raise _Refuse(OptionReply.ERR_UNSUP, "extended headers are off")
        if self.agreement.mode is ReplyMode.EXTENDED:
            raise _Refuse(OptionReply.ERR_INVALID, "extended headers were agreed on already")
        self.agreement.mode = ReplyMode.EXTENDED
        self._reply(number, OptionReply.ACK)

    def _meta_context(self, number: int, data: bytes) -> None:
        """LIST_META_CONTEXT and SET_META_CONTEXT ("Metadata querying")."""
        if number == Option.SET_META_CONTEXT:
            self.agreement.contexts = {}
        if not self.features.block_status:
            raise _Refuse(OptionReply.ERR_UNSUP, "block status is off")
        if self.agreement.mode is ReplyMode.SIMPLE:
            raise _Refuse(OptionReply.ERR_INVALID, "structured replies were not agreed on")
        name, queries = self._parse_meta_context(data)
        self._find(name)
        listing = number == Option.LIST_META_CONTEXT
        chosen = match_contexts(queries, self.features.contexts(), listing=listing)
        if not listing:
            self.agreement.contexts = chosen
            self.agreement.context_export = name
        for key, context in chosen.items():
            head = m.U32.pack(0 if listing else key)
            self._reply(number, OptionReply.META_CONTEXT, head + context.encode())
        self._reply(number, OptionReply.ACK)

    def _parse_meta_context(self, data: bytes) -> tuple[str, list[str]]:
        name, at = self._take_name(data)
        if len(data) - at < m.U32.size:
            raise _Refuse(OptionReply.ERR_INVALID, "the count of queries is missing")
        (count,) = m.U32.unpack_from(data, at)
        at += m.U32.size
        if count > self.limits.queries:
            raise _Refuse(OptionReply.ERR_TOO_BIG, f"{count} queries are too many")
        queries = []
        for _ in range(count):
            query, at = self._take_name(data, at)
            queries.append(query)
        if at != len(data):
            raise _Refuse(OptionReply.ERR_INVALID, "data after the last query")
        return name, queries

    # -- what options share

    def _no_data(self, data: bytes) -> None:
        if data:
            raise _Refuse(OptionReply.ERR_INVALID, f"{len(data)} bytes of data where none belong")

    def _take_name(self, data: bytes, at: int = 0) -> tuple[str, int]:
        try:
            return m.take_string(data, at)
        except RemoteProtocolError as error:
            raise _Refuse(OptionReply.ERR_INVALID, str(error)) from error

    def _find(self, name: str) -> Device:
        """Return the export; the empty name is the only export, if there is only one."""
        try:
            return self._exports.open(name)
        except BlockError as error:
            raise _Refuse(OptionReply.ERR_PLATFORM, str(error)) from error
        except StoreError as error:
            names = self._exports.list() if not name else []
            if len(names) == 1:
                return self._exports.open(names[0])
            raise _Refuse(OptionReply.ERR_UNKNOWN, f"no export named {name!r}") from error

    def _flags(self, device: Device) -> c.TransmissionFlag:
        mode = self.agreement.mode
        return self.features.transmission_flags(
            read_only=self._read_only or device.read_only,
            structured=mode is ReplyMode.STRUCTURED,
            extended=mode is ReplyMode.EXTENDED,
        )

    def _block_sizes(self, device: Device) -> tuple[int, int, int]:
        minimum, preferred, maximum = device.block_sizes
        return minimum, preferred, max(minimum, min(maximum, self.limits.payload))

    def _enter(self, name: str, device: Device, flags: c.TransmissionFlag) -> None:
        agreement = self.agreement
        agreement.export, agreement.device, agreement.flags = name, device, flags
        if agreement.context_export != name:
            agreement.contexts = {}
        self.phase = Phase.TRANSMISSION


def match_contexts(queries: list[str], offered: list[str], *, listing: bool) -> dict[int, str]:
    """Return the contexts that the queries choose, by id.

    An empty leaf ("base:") is a wildcard when listing, and so is no query at all; SET knows exact
    names only, save for ``qbd:``, which is ours to define ("Metadata querying").
    """
    numbered = dict(enumerate(offered, start=1))
    if listing and not queries:
        return numbered
    chosen = {}
    for key, context in numbered.items():
        namespace = context.partition(":")[0] + ":"
        wildcard = namespace in queries and (listing or namespace == "qbd:")
        if context in queries or wildcard:
            chosen[key] = context
    return chosen


_HANDLERS: dict[int, Callable[[ServerNegotiation, int, bytes], None]] = {
    Option.ABORT: ServerNegotiation._abort,
    Option.LIST: ServerNegotiation._list,
    Option.STARTTLS: ServerNegotiation._starttls,
    Option.INFO: ServerNegotiation._info,
    Option.GO: ServerNegotiation._info,
    Option.STRUCTURED_REPLY: ServerNegotiation._structured_reply,
    Option.EXTENDED_HEADERS: ServerNegotiation._extended_headers,
    Option.LIST_META_CONTEXT: ServerNegotiation._meta_context,
    Option.SET_META_CONTEXT: ServerNegotiation._meta_context,
}
