"""Split the stream of QMP into JSON texts, without a socket.

QMP sends JSON values one after the other; white space between them is allowed but not required. So
a message ends where its outermost bracket closes. Text outside of brackets ends at the end of its
line; it is not a message and gets an error reply. A byte 0xFF, which is not valid in UTF-8,
discards the bytes before it (QEMU docs/interop/qmp-spec.rst, "Notes": "resets the parser").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MESSAGE_BYTES_MAX = 1 << 20
"""Longest message. QEMU's parser accepts 64 MiB, which is not needed here."""
DEPTH_MAX = 1024
"""Deepest nesting, as in QEMU's parser (qobject/json-streamer.c, MAX_NESTING)."""
_OUTSIDE = re.compile(rb'["{}\[\]\n\xff]')
_INSIDE = re.compile(rb'["\\\xff]')


class MessageTooLong(ValueError):  # noqa: N818  # reads as a sentence where it is raised
    """A message exceeds a limit; the rest of the stream cannot be parsed."""


class Splitter:
    """Splits received bytes into JSON texts."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the complete texts; skip blank ones.

        :raise MessageTooLong: a text exceeds MESSAGE_BYTES_MAX or DEPTH_MAX.
        """
        self._buffer += data
        while (text := self._next()) is not None:
            if text.strip(b" \t\r\n"):
                yield text
        if len(self._buffer) > MESSAGE_BYTES_MAX:
            msg = f"message over {MESSAGE_BYTES_MAX} bytes"
            raise MessageTooLong(msg)

    def _next(self) -> bytes | None:
        while True:
            pattern = _INSIDE if self._in_string else _OUTSIDE
            found = pattern.search(self._buffer, self._at)
            if found is None:
                self._at = len(self._buffer)
                return None
            character = found.group()
            if character == b"\\" and found.end() == len(self._buffer):
                self._at = found.start()  # the escaped character has not arrived yet
                return None
            self._at = found.end()
            if character == b"\xff":
                self._take()
            elif character == b"\\":
                self._at += 1
            elif character == b'"':
                self._in_string = not self._in_string
            elif self._closes(character):
                return self._take()

    def _closes(self, character: bytes) -> bool:
        """Handle a bracket or a line end; return whether it ends a message."""
        if character in b"{[":
            self._depth += 1
            if self._depth > DEPTH_MAX:
                msg = f"nested more than {DEPTH_MAX} deep"
                raise MessageTooLong(msg)
            return False
        if character != b"\n":
            self._depth -= 1
        return self._depth <= 0

    def _take(self) -> bytes:
        text = bytes(self._buffer[: self._at])
        del self._buffer[: self._at]
        self._at = self._depth = 0
        self._in_string = False
        return text
