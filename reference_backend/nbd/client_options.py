"""Parse the server's side of the option phase, for a client.

NBD document, "Newstyle negotiation", "Fixed newstyle negotiation".
"""

from __future__ import annotations

from dataclasses import dataclass

from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.errors import RemoteProtocolError


@dataclass(frozen=True, slots=True)
class OptionReplyMessage:
    """One reply to an option."""

    option: int
    reply: int
    data: bytes


def parse_greeting(data: bytes) -> int | None:
    """Return the handshake flags, or None when bytes are missing ("Newstyle negotiation").

    :raise RemoteProtocolError: the magics are not NBD's.
    """
    if len(data) < m.GREETING.size:
        return None
    init, magic, flags = m.GREETING.unpack_from(data)
    if init != c.INIT_MAGIC or magic != c.OPTION_MAGIC:
        msg = f"greeting is {data[:16].hex()}"
        raise RemoteProtocolError(msg)
    return int(flags)


def parse_option_reply(data: bytes, limit: int = 1 << 20) -> tuple[OptionReplyMessage, int] | None:
    """Return the first option reply and its length, or None when bytes are missing.

    :raise RemoteProtocolError: wrong magic, or a reply of more than ``limit`` bytes.
    """
    if len(data) < m.OPTION_REPLY.size:
        return None
    magic, option, reply, length = m.OPTION_REPLY.unpack_from(data)
    if magic != c.OPTION_REPLY_MAGIC:
        msg = f"option reply magic is {magic:#x}"
        raise RemoteProtocolError(msg)
    if length > limit:
        msg = f"option reply declares {length} bytes"
        raise RemoteProtocolError(msg)
    end = m.OPTION_REPLY.size + length
    if len(data) < end:
        return None
    return OptionReplyMessage(option, reply, bytes(data[m.OPTION_REPLY.size : end])), end
