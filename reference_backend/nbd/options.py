"""The server's answers to options: one method for each option, in a table.

NBD document, "Option types". EXPORT_NAME is separate, because it has no error reply.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from blockio.errors import BlockError, StoreError
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import Agreement, ReplyMode, match_contexts
from reference_backend.nbd.constants import Info, Option, OptionReply
from reference_backend.nbd.errors import RemoteProtocolError
from reference_backend.nbd.settings import Device, Exports, Features, Limits, TlsMode


class Refusal(Exception):  # noqa: N818  # a reply, not an error of the server
    """An option fails with this reply type; the handshake continues."""

    def __init__(self, reply: OptionReply, message: str) -> None:
        super().__init__(message)
        self.reply = reply


class Options:
    """The server's answers to options; ``agreement`` collects the results.

    After ``answer``, ``outcome`` is the option if it ends the option phase: ABORT, GO, EXPORT_NAME
    or STARTTLS.
    """

    def __init__(
        self,
        exports: Exports,
        features: Features,
        limits: Limits,
        tls: TlsMode,
        *,
        read_only: bool,
    ) -> None:
        self.agreement = Agreement()
        self.outcome: Option | None = None
        self._exports = exports
        self._features = features
        self._limits = limits
        self._tls = tls
        self._read_only = read_only
        self._out: list[bytes] = []

    def answer(self, number: int, data: bytes) -> list[bytes]:
        """Return the replies to an option other than EXPORT_NAME."""
        self._out = []
        try:
            if self.tls_missing() and number not in (Option.STARTTLS, Option.ABORT):
                raise Refusal(OptionReply.ERR_TLS_REQD, "this server requires TLS")
            handler = self._table.get(number)
            if handler is None:
                raise Refusal(OptionReply.ERR_UNSUP, f"option {number} is not known")
            handler(self, number, data)
        except Refusal as refusal:
            self._reply(number, refusal.reply, _text(str(refusal)))
        return self._out

    def too_big(self, number: int, length: int) -> bytes:
        """Return the refusal of an option with too much data."""
        if number == Option.SET_META_CONTEXT:
            self.agreement.contexts = {}
        message = _text(f"{length} bytes are too long")
        return m.option_reply(number, OptionReply.ERR_TOO_BIG, message)

    def export_name(self, data: bytes, *, no_zeroes: bool) -> bytes:
        """Return the reply to EXPORT_NAME.

        :raise RemoteProtocolError: any failure; there is no error reply, so the session ends.
        """
        if self.tls_missing():
            msg = "EXPORT_NAME without TLS, which this server requires"
            raise RemoteProtocolError(msg)
        try:
            name, device = self._find(m.decode_name(data))
        except Refusal as refusal:
            raise RemoteProtocolError(str(refusal)) from refusal
        flags = self._flags(device)
        self.agreement.enter(name, device, flags)
        self.outcome = Option.EXPORT_NAME
        return m.EXPORT.pack(device.size, flags) + bytes(0 if no_zeroes else c.EXPORT_ZEROES)

    def tls_missing(self) -> bool:
        """Return whether TLS must come first ("TLS support", FORCEDTLS)."""
        return self._tls is TlsMode.REQUIRED and not self.agreement.tls

    # -- one method for each option

    def _abort(self, number: int, data: bytes) -> None:
        """Handle ABORT: its data is ignored, as the NBD document demands."""
        del data
        self._reply(number, OptionReply.ACK)
        self.outcome = Option.ABORT

    def _list(self, number: int, data: bytes) -> None:
        _no_data(data)
        for name in self._exports.list():
            self._reply(number, OptionReply.SERVER, m.string(name))
        self._reply(number, OptionReply.ACK)

    def _starttls(self, number: int, data: bytes) -> None:
        _no_data(data)
        if self.agreement.tls:
            raise Refusal(OptionReply.ERR_INVALID, "TLS is on already")
        if self._tls is TlsMode.OFF:
            raise Refusal(OptionReply.ERR_POLICY, "this server does not support TLS")
        self._reply(number, OptionReply.ACK)
        self.outcome = Option.STARTTLS

    def _info(self, number: int, data: bytes) -> None:
        """Answer INFO and GO with the data of an export; GO enters the transmission phase."""
        asked, wanted = _parse_info(data)
        name, device = self._find(asked)
        flags, size = self._flags(device), device.size
        self._reply(number, OptionReply.INFO, m.INFO_EXPORT.pack(Info.EXPORT, size, flags))
        if Info.NAME in wanted:
            self._reply(number, OptionReply.INFO, m.U16.pack(Info.NAME) + name.encode())
        if Info.DESCRIPTION in wanted:
            text = _text(f"{size} bytes, {name or 'default export'}")
            self._reply(number, OptionReply.INFO, m.U16.pack(Info.DESCRIPTION) + text)
        if Info.BLOCK_SIZE in wanted and self._features.block_size:
            sizes = m.INFO_BLOCK_SIZE.pack(Info.BLOCK_SIZE, *advertised_sizes(device, self._limits))
            self._reply(number, OptionReply.INFO, sizes)
        self._reply(number, OptionReply.ACK)
        if number == Option.GO:
            self.agreement.enter(name, device, flags)
            self.outcome = Option.GO

    def _structured_reply(self, number: int, data: bytes) -> None:
        _no_data(data)
        if not self._features.structured:
            raise Refusal(OptionReply.ERR_UNSUP, "structured replies are off")
        if self.agreement.mode is ReplyMode.EXTENDED:
            raise Refusal(OptionReply.ERR_EXT_HEADER_REQD, "extended headers were agreed on")
        if self.agreement.mode is ReplyMode.STRUCTURED:
            raise Refusal(OptionReply.ERR_INVALID, "structured replies were agreed on already")
        self.agreement.mode = ReplyMode.STRUCTURED
        self._reply(number, OptionReply.ACK)

    def _extended_headers(self, number: int, data: bytes) -> None:
        _no_data(data)
        if not self._features.extended:
            raise Refusal(OptionReply.ERR_UNSUP, "extended headers are off")
        if self.agreement.mode is ReplyMode.EXTENDED:
            raise Refusal(OptionReply.ERR_INVALID, "extended headers were agreed on already")
        self.agreement.mode = ReplyMode.EXTENDED
        self._reply(number, OptionReply.ACK)

    def _meta_context(self, number: int, data: bytes) -> None:
        """Handle LIST_META_CONTEXT and SET_META_CONTEXT ("Metadata querying")."""
        listing = number == Option.LIST_META_CONTEXT
        if not listing:
            self.agreement.contexts = {}
        if not self._features.block_status:
            raise Refusal(OptionReply.ERR_UNSUP, "block status is off")
        if self.agreement.mode is ReplyMode.SIMPLE:
            raise Refusal(OptionReply.ERR_INVALID, "structured replies were not agreed on")
        asked, queries = _parse_meta_context(data, self._limits.queries)
        name, _device = self._find(asked)
        chosen = match_contexts(queries, self._features.contexts(), listing=listing)
        if not listing:
            self.agreement.contexts = chosen
            self.agreement.context_export = name
        for key, context in chosen.items():
            head = m.U32.pack(0 if listing else key)
            self._reply(number, OptionReply.META_CONTEXT, head + context.encode())
        self._reply(number, OptionReply.ACK)

    _table: dict[int, Callable[[Options, int, bytes], None]] = {
        Option.ABORT: _abort,
        Option.LIST: _list,
        Option.STARTTLS: _starttls,
        Option.INFO: _info,
        Option.GO: _info,
        Option.STRUCTURED_REPLY: _structured_reply,
        Option.EXTENDED_HEADERS: _extended_headers,
        Option.LIST_META_CONTEXT: _meta_context,
        Option.SET_META_CONTEXT: _meta_context,
    }

    # -- common parts

    def _reply(self, number: int, reply: OptionReply, data: bytes = b"") -> None:
        self._out.append(m.option_reply(number, reply, data))

    def _find(self, name: str) -> tuple[str, Device]:
        """Return an export and its name; the empty name means the only export, if there is one."""
        try:
            return name, self._exports.open(name)
        except BlockError as error:
            raise Refusal(OptionReply.ERR_PLATFORM, str(error)) from error
        except StoreError as error:
            names = list(self._exports.list()) if not name else []
            if len(names) == 1:
                return names[0], self._exports.open(names[0])
            raise Refusal(OptionReply.ERR_UNKNOWN, f"no export named {name!r}") from error

    def _flags(self, device: Device) -> c.TransmissionFlag:
        mode = self.agreement.mode
        return self._features.transmission_flags(
            read_only=self._read_only or device.read_only,
            structured=mode is ReplyMode.STRUCTURED,
            extended=mode is ReplyMode.EXTENDED,
        )


def advertised_sizes(device: Device, limits: Limits) -> tuple[int, int, int]:
    """Return the block sizes to advertise and to enforce ("Block size constraints").

    The maximum is the smaller of the device's maximum and the longest payload, rounded down to a
    multiple of the minimum.
    """
    minimum, preferred, maximum = device.block_sizes
    minimum = max(minimum, 1)
    longest = min(maximum, limits.payload) // minimum * minimum
    return minimum, preferred, max(longest, minimum)


def _text(message: str) -> bytes:
    """Encode a message for people, no longer than a string may be."""
    return message.encode()[:1024].decode(errors="ignore").encode()


def _no_data(data: bytes) -> None:
    if data:
        raise Refusal(OptionReply.ERR_INVALID, f"{len(data)} bytes of unexpected data")


def _take_string(data: bytes, at: int = 0) -> tuple[str, int]:
    try:
        return m.take_string(data, at)
    except RemoteProtocolError as error:
        raise Refusal(OptionReply.ERR_INVALID, str(error)) from error


def _parse_info(data: bytes) -> tuple[str, set[int]]:
    name, at = _take_string(data)
    if len(data) - at < m.U16.size:
        raise Refusal(OptionReply.ERR_INVALID, "the count of information requests is missing")
    (count,) = m.U16.unpack_from(data, at)
    at += m.U16.size
    if len(data) - at != count * m.U16.size:
        raise Refusal(OptionReply.ERR_INVALID, "the count of information requests is wrong")
    return name, set(struct.unpack_from(f">{count}H", data, at))


def _parse_meta_context(data: bytes, most: int) -> tuple[str, list[str]]:
    name, at = _take_string(data)
    if len(data) - at < m.U32.size:
        raise Refusal(OptionReply.ERR_INVALID, "the count of queries is missing")
    (count,) = m.U32.unpack_from(data, at)
    at += m.U32.size
    if count > most:
        raise Refusal(OptionReply.ERR_TOO_BIG, f"{count} queries are too many")
    queries = []
    for _ in range(count):
        query, at = _take_string(data, at)
        queries.append(query)
    if at != len(data):
        raise Refusal(OptionReply.ERR_INVALID, "data after the last query")
    return name, queries
