"""What a server offers (Features), how far clients may go (Limits), what is served (Device)."""

from __future__ import annotations

import enum
import mmap
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from blockio.extents import Extent
from reference_backend.nbd.constants import BASE_ALLOCATION, QBD_DIRTY, TransmissionFlag

Bytes = bytes | bytearray | memoryview
Buffer = bytearray | mmap.mmap
"""What bytes are received into; an anonymous mmap costs memory only where it was written."""


class Device(Protocol):
    """What the protocol code needs of a volume; units are bytes, failures are ``BlockError``."""

    @property
    def size(self) -> int:
        """Return the current size."""
        ...

    @property
    def read_only(self) -> bool:
        """Tell whether writes fail."""
        ...

    @property
    def block_sizes(self) -> tuple[int, int, int]:
        """Return minimum, preferred and maximum request sizes."""
        ...

    def read(self, offset: int, length: int) -> Bytes:
        """Return ``length`` bytes."""
        ...

    def write(self, offset: int, data: Bytes, fua: bool = False) -> None:
        """Replace bytes."""
        ...

    def write_zeroes(
        self,
        offset: int,
        length: int,
        no_hole: bool = False,
        fast_zero: bool = False,
        fua: bool = False,
    ) -> None:
        """Make a range read as zeroes."""
        ...

    def discard(self, offset: int, length: int, fua: bool = False) -> None:
        """Forget a range."""
        ...

    def flush(self) -> None:
        """Make all acknowledged writes durable."""
        ...

    def cache(self, offset: int, length: int) -> None:
        """Read ahead."""
        ...

    def block_status(self, offset: int, length: int) -> Sequence[Extent]:
        """Tell what is allocated."""
        ...

    def dirty_status(self, offset: int, length: int) -> Sequence[Extent]:
        """Tell what was written since the last checkpoint."""
        ...


class Exports(Protocol):
    """Volumes by name."""

    def open(self, name: str) -> Device:
        """Return the volume; raise ``VolumeNotFound``."""
        ...

    def list(self) -> Sequence[str]:
        """Return the names, in the order that LIST tells them."""
        ...


class TlsMode(enum.Enum):
    """Modes of "TLS support": NOTLS, SELECTIVETLS with no TLS-only export, FORCEDTLS."""

    OFF = "off"
    OFFERED = "offered"
    REQUIRED = "required"


class Features(NamedTuple):
    """What a server offers. All on by default; each ``--no-FEATURE`` switches one field off."""

    structured: bool = True
    extended: bool = True
    df: bool = True
    fua: bool = True
    flush: bool = True
    trim: bool = True
    write_zeroes: bool = True
    fast_zero: bool = True
    cache: bool = True
    multi_conn: bool = True
    block_status: bool = True
    dirty: bool = True
    block_size: bool = True
    fixed_newstyle: bool = True
    no_zeroes: bool = True

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of all features, for a command line."""
        return list(cls._fields)

    def contexts(self) -> list[str]:
        """Return the metadata contexts offered."""
        if not self.block_status:
            return []
        return [BASE_ALLOCATION, QBD_DIRTY] if self.dirty else [BASE_ALLOCATION]

    def transmission_flags(
        self, *, read_only: bool, structured: bool, extended: bool = False
    ) -> TransmissionFlag:
        """Return the flags of an export ("Transmission flags").

        DF is only told to a client that negotiated structured replies or extended headers.
        """
        flag = TransmissionFlag
        told = {
            flag.READ_ONLY: read_only,
            flag.SEND_FLUSH: self.flush,
            flag.SEND_FUA: self.fua and not read_only,
            flag.SEND_TRIM: self.trim and not read_only,
            flag.SEND_WRITE_ZEROES: self.write_zeroes and not read_only,
            flag.SEND_DF: self.df and (structured or extended),
            flag.CAN_MULTI_CONN: self.multi_conn,
            flag.SEND_CACHE: self.cache,
            flag.SEND_FAST_ZERO: self.fast_zero and self.write_zeroes and not read_only,
            flag.BLOCK_STAT_PAYLOAD: extended and self.block_status,
        }
        flags = flag.HAS_FLAGS
        for bit, on in told.items():
            if on:
                flags |= bit
        return flags


class Limits(NamedTuple):
    """How far clients may go; sizes in bytes, times in seconds."""

    option_length: int = 16 * 1024
    """Longest option data that is looked at; what is longer is skipped and answered TOO_BIG."""
    option_skip: int = 64 * 1024
    """Longest option data that is skipped; what declares more is cut off."""
    options: int = 1024
    """Most options of one handshake; libnbd and QEMU send under ten."""
    queries: int = 64
    """Most queries of one metadata context option."""
    payload: int = 64 * 1024 * 1024
    """Longest READ, and longest payload of any request; a longer READ fails with EINVAL."""
    drain: int = 256 * 1024 * 1024
    """Longest payload that is read and thrown away after a refusal; longer ends the connection."""
    handshake_s: float = 10.0
    """From accept to the transmission phase, TLS included."""
    stall_s: float = 30.0
    """A client that does not take its replies for so long is dropped."""
    memory: int = 96 * 1024 * 1024
    """Memory of all requests and replies over 2 and 4 MiB together; who finds none left waits."""
    connections: int = 16384
    """Most connections at once; what is more is closed at once."""
