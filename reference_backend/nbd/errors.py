"""Errors of the protocol code, and the map from errno to error values of the protocol.

NbdProtocolError            a violation of the protocol; the connection cannot continue
├── RemoteProtocolError     by the peer
│   └── ReplyHasGaps        a successful read without data for a part of its range
└── LocalProtocolError      by the caller (a call in a wrong state, a value out of range)
OptionRefused               the server answered an option with an error (client side)
NbdError                    a request failed with an errno (client side)
"""

from __future__ import annotations

import errno
import os

from reference_backend.nbd.constants import OptionReply, WireError


class NbdProtocolError(Exception):
    """A violation of the protocol; the connection cannot be used any more."""


class RemoteProtocolError(NbdProtocolError):
    """The peer broke the protocol."""


class ReplyHasGaps(RemoteProtocolError):  # noqa: N818  # reads as a sentence
    """The chunks of a successful read do not cover its range; ``gaps``: (offset, length), bytes."""

    def __init__(self, request: str, gaps: list[tuple[int, int]]) -> None:
        shown = ", ".join(f"{length} bytes at offset {offset}" for offset, length in gaps[:3])
        more = f", and {len(gaps) - 3} more" if len(gaps) > 3 else ""
        super().__init__(f"{request}: no chunk for {shown}{more}")
        self.gaps = tuple(gaps)


class LocalProtocolError(NbdProtocolError):
    """The caller of this package broke the protocol."""


class OptionRefused(Exception):  # noqa: N818  # reads as a sentence where it is raised
    """The server refused an option.

    :param option: the option's number.
    :param reply: the reply type, an ERR_* of OptionReply or an unknown number.
    :param message: the server's text, may be empty.
    """

    def __init__(self, option: int, reply: int, message: str = "") -> None:
        name = OptionReply(reply).name if reply in list(OptionReply) else hex(reply)
        super().__init__(f"option {option} refused: {name}" + (f": {message}" if message else ""))
        self.option = option
        self.reply = reply
        self.message = message


class NbdError(OSError):
    """A request failed; ``errno`` is the reply's error value, ``offset`` its offset or None.

    :param message: the server's text; without one the text of the errno.
    :param request: the request in words, such as ``WRITE of 512 bytes at offset 4096``.
    """

    def __init__(
        self, number: int, message: str = "", offset: int | None = None, request: str = ""
    ) -> None:
        super().__init__(number, message or os.strerror(number))
        self.offset = offset
        self.request = request

    def __str__(self) -> str:
        number = self.errno or 0
        name = errno.errorcode.get(number, f"errno {number}")
        place = f", at offset {self.offset}" if self.offset is not None else ""
        return f"{self.request or 'a request'}: the server answered {name} ({self.strerror}){place}"


_TRAVELS_AS = {
    errno.EROFS: WireError.EPERM,
    errno.EDQUOT: WireError.ENOSPC,
    errno.EFBIG: WireError.ENOSPC,
    errno.EOPNOTSUPP: WireError.ENOTSUP,
}


def wire_errno(number: int) -> int:
    """Return the error value of the protocol for a Linux errno.

    NBD document, "Error values": only eight values exist. Others become EINVAL, like in QEMU
    (nbd/server.c, system_errno_to_nbd_errno).
    """
    if number in WireError.__members__.values():
        return number
    return _TRAVELS_AS.get(number, WireError.EINVAL)
