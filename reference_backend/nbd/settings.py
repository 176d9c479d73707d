"""Settings of a server: its features, the limits for clients, and the devices that it serves."""

from __future__ import annotations

import enum
import mmap
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from blockio.extents import Extent
from reference_backend.nbd.constants import BASE_ALLOCATION, QBD_DIRTY, TransmissionFlag

Bytes = bytes | bytearray | memoryview
Buffer = bytearray | mmap.mmap
"""A receive buffer; an anonymous mmap takes memory only for pages that were written."""


class Device(Protocol):
    """The interface of a volume for the protocol code, in bytes; failures are ``BlockError``."""

    @property
    def size(self) -> int:
        """Return the current size."""
        ...

    @property
    def read_only(self) -> bool:
        """Return whether writes fail."""
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
        """Discard a range."""
        ...

    def flush(self) -> None:
        """Make all acknowledged writes durable."""
        ...

    def cache(self, offset: int, length: int) -> None:
        """Read ahead."""
        ...

    def block_status(self, offset: int, length: int) -> Sequence[Extent]:
        """Return the extents with their allocation."""
        ...

    def dirty_status(self, offset: int, length: int) -> Sequence[Extent]:
        """Return the extents that were written since the last checkpoint."""
        ...


class Exports(Protocol):
    """Volumes by name."""

    def open(self, name: str) -> Device:
        """Return the volume; raise ``VolumeNotFound``."""
        ...

    def list(self) -> Sequence[str]:
        """Return the names in the order of LIST."""
        ...


class TlsMode(enum.Enum):
    """Modes of "TLS support": NOTLS, SELECTIVETLS with no TLS-only export, FORCEDTLS."""

    OFF = "off"
    OFFERED = "offered"
    REQUIRED = "required"


class Features(NamedTuple):
    """The features of a server, all on by default; each ``--no-FEATURE`` switches one off."""

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

        DF is set only if the client negotiated structured replies or extended headers.
        """
        flag = TransmissionFlag
        wanted = {
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
        for bit, on in wanted.items():
            if on:
                flags |= bit
        return flags


class Limits(NamedTuple):
    """Limits for clients; sizes in bytes, times in seconds."""

    option_length: int = 16 * 1024
    """Longest option data; longer data is skipped and answered with TOO_BIG."""
    option_skip: int = 64 * 1024
    """Longest option data that is skipped; a longer option ends the connection."""
    options: int = 1024
    """Most options of one handshake; libnbd and QEMU send under ten."""
    queries: int = 64
    """Most queries of one metadata context option."""
    payload: int = 64 * 1024 * 1024
    """Longest READ, and longest payload of any request; a longer READ fails with EINVAL."""
    drain: int = 256 * 1024 * 1024
    """Longest payload that is discarded after a refusal; a longer one ends the connection."""
    handshake_s: float = 10.0
    """Time limit from accept to the transmission phase, including TLS."""
    stall_s: float = 30.0
    """A client that takes no replies, or sends no rest of a payload, for this time is dropped."""
    memory: int = 96 * 1024 * 1024
    """Memory for all writes over 2 MiB and reads over 4 MiB together; a request waits for it."""
    connections: int = 16384
    """Most connections; further ones are closed at once."""
