"""The parts of a finding: kinds of damage, what is at a place, which requests touched it."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass


class Damage(enum.Enum):
    """Kinds of damage. The value is the word in reports and in the expectations of mutants."""

    ZEROED = "zeroed"
    STALE = "stale"
    """An older generation: a write was lost, or a cache served old data."""
    NEWER = "newer"
    """A later generation than expected: a snapshot or a backup that follows its source."""
    NEVER_WRITTEN = "never written"
    """What the disk was prefilled with is still there."""
    LOST = "lost"
    """An acknowledged write is missing; the finding does not record the contents."""
    OTHER_WRITE = "other write"
    MISDIRECTED = "misdirected"
    SWAPPED = "swapped"
    FOREIGN = "foreign"
    """Data of another volume or another run."""
    TORN = "torn"
    """One part of the sector from one write, the rest from another."""
    BIT_FLIP = "bit flip"
    ALTERED = "altered"
    """A few neighbouring bytes changed."""
    SHIFTED = "shifted"
    TRUNCATED = "truncated"
    BEYOND_END = "beyond the end"
    """Data was read, or written, beyond the end of the volume."""
    CHANGING = "changing"
    """Two reads without a write in between returned different data."""
    UNKNOWN = "unknown"

    NOT_LINEARIZABLE = "not linearizable"
    METADATA = "metadata"
    """The structures of an image format or of a file system are damaged."""
    FILE = "file"
    """A file, or a row of a database, is not what was promised."""

    ERROR = "error"
    """A request failed, succeeded, or failed with an errno, where another outcome was due."""
    LENGTH = "length"
    """A reply has more or less data than was requested."""
    SIZE = "size"
    STATUS = "block status"

    PROTOCOL = "protocol error"
    """A reply breaks the protocol, or the connection was lost."""
    NOT_READY = "not ready"
    """A server did not start, or did not become ready in time."""
    DIED = "died"
    """A program ended by a signal."""
    HANG = "hang"

    @property
    def rank(self) -> int:
        """The place in reports: 0 contents, 1 order and metadata, 2 wrong answers, 3 the rest."""
        return RANKS.get(self, 0)


RANKS = {
    Damage.NOT_LINEARIZABLE: 1,
    Damage.METADATA: 1,
    Damage.FILE: 1,
    Damage.ERROR: 2,
    Damage.LENGTH: 2,
    Damage.SIZE: 2,
    Damage.STATUS: 2,
    Damage.PROTOCOL: 3,
    Damage.NOT_READY: 3,
    Damage.DIED: 3,
    Damage.HANG: 3,
}


class Confidence(enum.Enum):
    """The certainty of the kind of damage. It is always certain that something is wrong."""

    CERTAIN = "certain"
    """The data proves it: a checksum, a whole stamp, a comparison byte by byte."""
    LIKELY = "likely"
    """The kind fits, but other causes could look the same."""
    UNKNOWN = "unknown"
    """No kind fits."""


class Verdict(enum.IntEnum):
    """The verdict of an oracle; the larger one is the worse."""

    RIGHT = 0
    UNJUDGED = 1
    """The oracle had nothing that it could judge."""
    WRONG = 2


class What(enum.Enum):
    """Kinds of `Content`."""

    ZEROES = "zeroes"
    PATTERN = "pattern"
    """One byte all over: ``number``."""
    STAMP = "stamp"
    """``generation``, ``operation``, ``writer``, ``run`` and ``volume`` say whose."""
    WRITE = "write"
    """A write of which only the number (``operation``) is known."""
    OTHER_WRITE = "another write"
    """A part of a stamp that no record names."""
    DATA = "other data"
    ERROR = "errno"
    """The outcome of a request: ``number`` is its Linux errno, 0 for success."""
    BYTES = "bytes"
    """A size or a length in bytes: ``number``."""
    TEXT = "text"


@dataclass(frozen=True)
class Content:
    """The actual or expected contents of a place. Fields that do not apply are None."""

    what: What
    generation: int | None = None
    operation: int | None = None
    writer: int | None = None
    run: int | None = None
    volume: int | None = None
    number: int | None = None
    text: str = ""

    def __str__(self) -> str:
        make = _CONTENTS.get(self.what)
        return self.what.value if make is None else make(self)


def _outcome(content: Content) -> str:
    number = content.number or 0
    if number < 0:
        return "no reply"
    return f"{os.strerror(number)} ({number})" if number else "success"


def _version(content: Content) -> str:
    if not content.generation:
        return "prefill"
    return f"generation {content.generation} by write #{content.operation}"


_CONTENTS: dict[What, Callable[[Content], str]] = {
    What.PATTERN: lambda content: f"pattern 0x{content.number or 0:02x}",
    What.STAMP: _version,
    What.WRITE: lambda content: f"write #{content.operation}",
    What.ERROR: _outcome,
    What.BYTES: lambda content: f"{content.number} bytes",
    What.TEXT: lambda content: content.text,
}


def error(number: int) -> Content:
    """Return the outcome of a request; 0 is success."""
    return Content(What.ERROR, number=number)


def size(number: int) -> Content:
    """Return a size or a length in bytes."""
    return Content(What.BYTES, number=number)


@dataclass(frozen=True)
class Difference:
    """The first wrong byte: its offset on the volume, and up to 16 bytes of both from there on."""

    offset: int
    expected: bytes
    seen: bytes


@dataclass(frozen=True)
class Operation:
    """A request of a history; ``generation`` is that of its stamps, None where it wrote none."""

    number: int
    offset: int
    length: int
    text: str
    generation: int | None = None
    writer: int = 0

    def touches(self, offset: int, length: int) -> bool:
        """Return whether any byte of a range was touched."""
        return self.offset < offset + length and offset < self.offset + self.length

    def __str__(self) -> str:
        return f"#{self.number} {self.text} {self.offset}+{self.length}"
