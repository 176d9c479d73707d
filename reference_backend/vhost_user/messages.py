"""The messages of the vhost-user protocol (QEMU, docs/interop/vhost-user.rst).

A message is a header of 12 bytes (request, flags, size of the payload) and its payload, in the
byte order of the machine. File descriptors go beside it, as SCM_RIGHTS.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

HEADER = struct.Struct("=III")
"""Request, flags, size."""
U64 = struct.Struct("=Q")
VRING_STATE = struct.Struct("=II")
"""Index and number."""
VRING_ADDRESS = struct.Struct("=IIQQQQ")
"""Index, flags, and the user addresses of descriptors, used ring, available ring, log."""
REGIONS_HEAD = struct.Struct("=II")
"""Number of regions, padding."""
REGION = struct.Struct("=QQQQ")
"""Guest address, size, user address, offset in the file."""
CONFIG_HEAD = struct.Struct("=III")
"""Offset, size, flags."""
INFLIGHT = struct.Struct("=QQHH")
"""Size and offset of the area, number of queues, size of a queue."""
WRITEBACK_OFFSET = 32
"""Offset of the field `writeback` in the configuration space (VIRTIO 1.2, section 5.2.4)."""
VERSION = 1
REPLY = 1 << 2
NEED_REPLY = 1 << 3
PAYLOAD_MAX = 4096
"""Longest payload that the front end accepts, in bytes. The document has none above 2 KiB."""


class Code(enum.IntEnum):
    """Requests of the front end."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    SET_MEM_TABLE = 5
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SET_BACKEND_REQ_FD = 21
    GET_CONFIG = 24
    SET_CONFIG = 25
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38


class BackEndCode(enum.IntEnum):
    """Requests of the daemon, on a socket of its own."""

    CONFIG_CHANGE_MSG = 2


class ProtocolFeature(enum.IntFlag):
    """Features of the protocol itself."""

    MQ = 1 << 0
    REPLY_ACK = 1 << 3
    BACKEND_REQ = 1 << 5
    CONFIG = 1 << 9
    INFLIGHT_SHMFD = 1 << 12
    CONFIGURE_MEM_SLOTS = 1 << 15


class Feature(enum.IntFlag):
    """Feature bits of the device: VIRTIO 1.2, sections 5.2.3 and 6, and vhost-user."""

    SIZE_MAX = 1 << 1
    SEG_MAX = 1 << 2
    RO = 1 << 5
    BLK_SIZE = 1 << 6
    FLUSH = 1 << 9
    TOPOLOGY = 1 << 10
    CONFIG_WCE = 1 << 11
    MQ = 1 << 12
    DISCARD = 1 << 13
    WRITE_ZEROES = 1 << 14
    INDIRECT_DESC = 1 << 28
    EVENT_IDX = 1 << 29
    PROTOCOL_FEATURES = 1 << 30
    VERSION_1 = 1 << 32


class Message(NamedTuple):
    """One message. ``flags`` does not include the version."""

    code: int
    payload: bytes = b""
    flags: int = 0


class MessageError(Exception):
    """The daemon broke the protocol, or ended the connection. The message says where."""


def encode(message: Message) -> bytes:
    """Return the bytes of a message."""
    head = HEADER.pack(message.code, message.flags | VERSION, len(message.payload))
    return head + message.payload


def decode_head(head: bytes) -> tuple[int, int, int]:
    """Return request, flags and size of the payload of a header of 12 bytes.

    :raise MessageError: the version is not 1, or the payload is too long.
    """
    code, flags, size = HEADER.unpack(head)
    if flags & 3 != VERSION:
        msg = f"a message of version {flags & 3}, and not {VERSION}"
        raise MessageError(msg)
    if size > PAYLOAD_MAX:
        msg = f"a message with {size} bytes of payload; the limit is {PAYLOAD_MAX}"
        raise MessageError(msg)
    return code, flags, size


def name_of(code: int) -> str:
    """Return the name of a request."""
    try:
        return Code(code).name
    except ValueError:
        return f"request {code}"
