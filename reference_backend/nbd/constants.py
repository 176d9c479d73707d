"""Numbers of the NBD protocol.

Source of all values: the NBD document (doc/proto.md of the NBD project), section "Values" unless a
line names another. ``Command`` and ``CommandFlag`` live in ``blockio.layers``, because
layers speak of them too.
"""

from __future__ import annotations

import enum

INIT_MAGIC = 0x4E42444D41474943
"""``NBDMAGIC``: the first eight bytes of any server ("Newstyle negotiation")."""
OPTION_MAGIC = 0x49484156454F5054
"""``IHAVEOPT``: follows INIT_MAGIC, and starts every option."""
OLDSTYLE_MAGIC = 0x420281861253
"""Follows INIT_MAGIC if the server knows no options ("Oldstyle negotiation")."""
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
EXTENDED_REQUEST_MAGIC = 0x21E41C71
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF
EXTENDED_REPLY_MAGIC = 0x6E8A278C

NAME_MAX = 4096
"""Bytes of the longest string ("Conventions")."""
DEFAULT_PORT = 10809
"""TCP port that IANA reserves for NBD ("Newstyle negotiation")."""
EXPORT_ZEROES = 124
"""Reserved bytes after the reply to EXPORT_NAME, unless both sides sent NO_ZEROES."""

BASE_ALLOCATION = "base:allocation"
QBD_DIRTY = "qbd:dirty"


class HandshakeFlag(enum.IntFlag):
    """Flags of the server in its greeting ("Handshake flags")."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class ClientFlag(enum.IntFlag):
    """Flags of the client's answer ("Client flags")."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class TransmissionFlag(enum.IntFlag):
    """Flags of an export ("Transmission flags")."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_FUA = 1 << 3
    ROTATIONAL = 1 << 4
    SEND_TRIM = 1 << 5
    SEND_WRITE_ZEROES = 1 << 6
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8
    SEND_RESIZE = 1 << 9
    SEND_CACHE = 1 << 10
    SEND_FAST_ZERO = 1 << 11
    BLOCK_STAT_PAYLOAD = 1 << 12


class Option(enum.IntEnum):
    """Option types ("Option types")."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    PEEK_EXPORT = 4
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10
    EXTENDED_HEADERS = 11


_ERROR_BIT = 1 << 31


class OptionReply(enum.IntEnum):
    """Option reply types ("Option reply types")."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = _ERROR_BIT | 1
    ERR_POLICY = _ERROR_BIT | 2
    ERR_INVALID = _ERROR_BIT | 3
    ERR_PLATFORM = _ERROR_BIT | 4
    ERR_TLS_REQD = _ERROR_BIT | 5
    ERR_UNKNOWN = _ERROR_BIT | 6
    ERR_SHUTDOWN = _ERROR_BIT | 7
    ERR_BLOCK_SIZE_REQD = _ERROR_BIT | 8
    ERR_TOO_BIG = _ERROR_BIT | 9
    ERR_EXT_HEADER_REQD = _ERROR_BIT | 10


def is_option_error(reply_type: int) -> bool:
    """Return whether an option reply type, also an unknown one, is an error."""
    return bool(reply_type & _ERROR_BIT)


class Info(enum.IntEnum):
    """Information types of INFO and GO ("Option types", NBD_INFO_*)."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class ChunkFlag(enum.IntFlag):
    """Flags of a structured or extended reply chunk ("Structured reply flags")."""

    DONE = 1 << 0


class Chunk(enum.IntEnum):
    """Types of reply chunks ("Structured reply types")."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    BLOCK_STATUS_EXT = 6
    ERROR = (1 << 15) | 1
    ERROR_OFFSET = (1 << 15) | 2


def is_chunk_error(chunk_type: int) -> bool:
    """Return whether a chunk type, also an unknown one, is an error."""
    return bool(chunk_type & (1 << 15))


class WireError(enum.IntEnum):
    """The error values of the protocol ("Error values")."""

    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108
