"""Layouts of all messages, as precompiled structs, and the small functions that fill them.

All integers are big endian ("Conventions"). A layout's docstring names its fields and its section.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from blockio.extents import Extent
from reference_backend.nbd import constants as c
from reference_backend.nbd.errors import RemoteProtocolError

GREETING = struct.Struct(">QQH")
"""init magic, option magic, handshake flags ("Newstyle negotiation")."""
OLDSTYLE = struct.Struct(">QQQHH124x")
"""Magics, size, handshake flags (0) and transmission flags of the only export."""
CLIENT_FLAGS = struct.Struct(">I")
OPTION = struct.Struct(">QII")
"""option magic, option, length of its data ("Newstyle negotiation")."""
OPTION_REPLY = struct.Struct(">QIII")
"""reply magic, option, reply type, length of the reply's data ("Fixed newstyle negotiation")."""
EXPORT = struct.Struct(">QH")
"""size, transmission flags: the reply to EXPORT_NAME."""
INFO_EXPORT = struct.Struct(">HQH")
"""INFO type, size, transmission flags."""
INFO_BLOCK_SIZE = struct.Struct(">HIII")
"""INFO type, minimum, preferred, maximum."""
U16 = struct.Struct(">H")
U32 = struct.Struct(">I")
U64 = struct.Struct(">Q")
_SHOWN = 60
"""Bytes of a wrong string that an error shows."""

REQUEST = struct.Struct(">IHHQQI")
"""magic, flags, type, cookie, offset, length ("Request message", compact)."""
EXTENDED_REQUEST = struct.Struct(">IHHQQQ")
"""magic, flags, type, cookie, offset, length ("Request message", extended)."""
SIMPLE_REPLY = struct.Struct(">IIQ")
"""magic, error, cookie ("Simple reply message")."""
STRUCTURED_REPLY = struct.Struct(">IHHQI")
"""magic, flags, type, cookie, payload length ("Structured reply chunk message")."""
EXTENDED_REPLY = struct.Struct(">IHHQQQ")
"""magic, flags, type, cookie, offset, payload length ("Extended reply chunk message")."""
OFFSET_DATA = struct.Struct(">IHHQIQ")
"""A structured chunk header with the offset that starts an OFFSET_DATA payload."""
EXTENDED_OFFSET_DATA = struct.Struct(">IHHQQQQ")
OFFSET_HOLE = struct.Struct(">QI")
"""offset, length of the hole: payload of OFFSET_HOLE."""
ERROR = struct.Struct(">IH")
"""error, length of the message: start of an ERROR payload."""
STATUS = struct.Struct(">II")
"""length, flags: one descriptor of BLOCK_STATUS."""
STATUS_EXT = struct.Struct(">QQ")
"""length, flags: one descriptor of BLOCK_STATUS_EXT."""
STATUS_EXT_HEAD = struct.Struct(">II")
"""context id, count of descriptors: start of BLOCK_STATUS_EXT."""


def option(number: int, data: bytes = b"") -> bytes:
    """Build an option."""
    return OPTION.pack(c.OPTION_MAGIC, number, len(data)) + data


def option_reply(number: int, reply_type: int, data: bytes = b"") -> bytes:
    """Build a reply to an option."""
    return OPTION_REPLY.pack(c.OPTION_REPLY_MAGIC, number, reply_type, len(data)) + data


def string(text: str) -> bytes:
    """Build a 32-bit length and the text in UTF-8."""
    raw = text.encode()
    return U32.pack(len(raw)) + raw


def take_string(data: bytes, at: int) -> tuple[str, int]:
    """Parse a string of ``string``; return the text and the offset after it.

    :raise RemoteProtocolError: the length is wrong or greater than 4096, or the text is not UTF-8
        or has a NUL.
    """
    if len(data) - at < U32.size:
        msg = "a string's length is missing"
        raise RemoteProtocolError(msg)
    (length,) = U32.unpack_from(data, at)
    start = at + U32.size
    if length > c.NAME_MAX or start + length > len(data):
        msg = f"a string of {length} bytes does not fit"
        raise RemoteProtocolError(msg)
    return decode_name(data[start : start + length]), start + length


def decode_name(raw: bytes, what: str = "a string") -> str:
    """Decode a string ("Conventions": UTF-8, no NUL, at most 4096 bytes).

    :param what: names it in errors.
    :raise RemoteProtocolError: the bytes are not such a string.
    """
    if len(raw) > c.NAME_MAX:
        msg = f"{what} of {len(raw)} bytes is longer than {c.NAME_MAX}"
        raise RemoteProtocolError(msg)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        msg = f"{what} is not UTF-8: {error}; it is {raw[:_SHOWN]!r}"
        raise RemoteProtocolError(msg) from error
    if "\0" in text:
        msg = f"{what} contains a NUL at byte {raw.index(0)} of {len(raw)}: {raw[:_SHOWN]!r}"
        raise RemoteProtocolError(msg)
    return text


def info_request(name: str, infos: Iterable[int] = ()) -> bytes:
    """Build the data of INFO and GO: name, count, information types."""
    wanted = list(infos)
    return string(name) + struct.pack(f">H{len(wanted)}H", len(wanted), *wanted)


def meta_context_request(name: str, queries: Sequence[str]) -> bytes:
    """Build the data of LIST_META_CONTEXT and SET_META_CONTEXT: export name, count, queries."""
    return string(name) + U32.pack(len(queries)) + b"".join(map(string, queries))


def status_payload(context: int, extents: Sequence[Extent], *, extended: bool) -> bytes:
    """Build the payload of BLOCK_STATUS or BLOCK_STATUS_EXT."""
    if extended:
        head = STATUS_EXT_HEAD.pack(context, len(extents))
        return head + b"".join([STATUS_EXT.pack(*extent) for extent in extents])
    return U32.pack(context) + b"".join([STATUS.pack(*extent) for extent in extents])
