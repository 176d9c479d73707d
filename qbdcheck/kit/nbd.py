"""The NBD protocol for cases that speak it themselves: constants, messages, replies, a client."""

from __future__ import annotations

from blockio.extents import STATE_HOLE, STATE_ZERO
from blockio.layers import Command, CommandFlag
from reference_backend.client import Client
from reference_backend.nbd import client_replies, messages
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.constants import (
    INIT_MAGIC,
    OPTION_MAGIC,
    REQUEST_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    Chunk,
    HandshakeFlag,
    Info,
    Option,
    OptionReply,
    TransmissionFlag,
)
from reference_backend.nbd.errors import NbdError, NbdProtocolError, OptionRefused
from reference_backend.nbd.messages import (
    ERROR,
    INFO_BLOCK_SIZE,
    INFO_EXPORT,
    OFFSET_HOLE,
    REQUEST,
    U16,
    U32,
    U64,
)
from reference_backend.tls import client_context

__all__ = [
    "ERROR",
    "INFO_BLOCK_SIZE",
    "INFO_EXPORT",
    "INIT_MAGIC",
    "OFFSET_HOLE",
    "OPTION_MAGIC",
    "REQUEST",
    "REQUEST_MAGIC",
    "SIMPLE_REPLY_MAGIC",
    "STATE_HOLE",
    "STATE_ZERO",
    "STRUCTURED_REPLY_MAGIC",
    "U16",
    "U32",
    "U64",
    "Chunk",
    "Client",
    "Command",
    "CommandFlag",
    "HandshakeFlag",
    "Info",
    "NbdError",
    "NbdProtocolError",
    "Option",
    "OptionRefused",
    "OptionReply",
    "ReplyMode",
    "TransmissionFlag",
    "client_context",
    "client_replies",
    "messages",
]
