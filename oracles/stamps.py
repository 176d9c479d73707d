"""Stamps: every 512-byte sector names its writer, its place and its version.

A comparison shows only *that* a sector is wrong. A stamp shows *what* is there instead: an older
write, a write for another place, data of another volume, parts of several writes. A stamped sector
has 64 little-endian words of 8 bytes:

    word  0      magic "qbdstamp"
    word  1      run (high 32 bits), volume (low 32)
    word  2      LBA: the sector's number on its volume, in units of 512 bytes
    word  3      generation (high 32 bits), writer (low 32)
    word  4      operation: number of the request, as in the history of the run
    words 5-63   key XOR constant[j], where key is a 64-bit mix of words 1 to 4

The fill is the checksum, 59 times: every changed bit is found. Each word has its own constant, so
data that moved within a sector is found too. Making a stamp takes one XOR for each word, which
numpy does at memory speed (bench/stamps.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SECTOR = 512
"""Bytes of one stamp; the smallest logical block of any disk."""
WORDS = SECTOR // 8
HEADER_WORDS = 5
HEADER_BYTES = HEADER_WORDS * 8
MAGIC = b"qbdstamp"
_MAGIC_WORD = np.uint64(int.from_bytes(MAGIC, "little"))
_LOW32 = 0xFFFFFFFF
_MASK64 = (1 << 64) - 1

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Data = bytes | bytearray | memoryview | Bytes


def _mix(word: int) -> int:
    """Mix 64 bits so that each input bit changes half of the output (finalizer of SplitMix64)."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _MASK64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _MASK64
    return word ^ (word >> 31)


_CONSTANTS = np.array(
    [_mix(0x9E3779B97F4A7C15 * j & _MASK64) for j in range(HEADER_WORDS, WORDS)], dtype="<u8"
)
_TILE = np.tile(np.concatenate([np.zeros(HEADER_WORDS, dtype="<u8"), _CONSTANTS]), (512, 1))
"""The constants of 512 sectors in a row: numpy works on long runs twice as fast as row by row."""


@dataclass(frozen=True)
class Identity:
    """The owner of stamped data: run, volume and writer, each 0 to 2^32-1."""

    run: int
    volume: int
    writer: int = 0

    @classmethod
    def of(cls, run: str, volume: str, writer: int = 0) -> Identity:
        """Return the identity of a named volume in a named run."""
        return cls(zlib.crc32(run.encode()), zlib.crc32(volume.encode()), writer)

    @classmethod
    def of_new(cls, run: str, volume: str) -> Identity:
        """Return the identity of a volume that was just made: another one each time.

        Data of a removed volume of the same name is then known as that. `owner_of` has the names
        of all volumes that this process made.
        """
        identity, number = cls.of(run, volume), 1
        while (identity.run, identity.volume) in _OWNERS:
            _OWNERS[identity.run, identity.volume] = f"an earlier volume {volume}"
            number += 1
            identity = cls.of(run, f"{volume}/{number}")
        _OWNERS[identity.run, identity.volume] = f"volume {volume}"
        return identity


_OWNERS: dict[tuple[int, int], str] = {}


def owner_of(run: int, volume: int) -> str:
    """Return which volume stamped data belongs to, in words; "" if this process did not make it."""
    return _OWNERS.get((run, volume), "")


@dataclass(frozen=True)
class Header:
    """The header of a stamped sector. ``lba`` is in sectors of 512 bytes."""

    run: int
    volume: int
    lba: int
    generation: int
    writer: int
    operation: int

    @property
    def identity(self) -> Identity:
        """Whose data it is."""
        return Identity(self.run, self.volume, self.writer)


def as_array(data: Data) -> Bytes:
    """Return a view (never a copy) of any bytes as a numpy array."""
    return data if isinstance(data, np.ndarray) else np.frombuffer(data, dtype=np.uint8)


def _keys(owner: Words | int, lba: Words, version: Words | int, operation: Words | int) -> Words:
    """Return the key of each sector; the arguments are words 1 to 4 of the header."""
    key = lba * np.uint64(0x9E3779B97F4A7C15)
    for word, rotation in ((owner, 0x2545F4914F6CDD1D), (version, 0xD6E8FEB86659FD93)):
        key ^= np.multiply(word, np.uint64(rotation), dtype=np.uint64)
        key ^= key >> np.uint64(29)
        key *= np.uint64(0xBF58476D1CE4E5B9)
    key ^= np.multiply(operation, np.uint64(0xA0761D6478BD642F), dtype=np.uint64)
    key ^= key >> np.uint64(32)
    key *= np.uint64(0x94D049BB133111EB)
    key ^= key >> np.uint64(29)
    return key


def _filled(keys: Words) -> Words:
    """Return a row of 64 words for each key, filled by it; the caller writes the headers."""
    sectors = np.repeat(keys, WORDS).reshape(-1, WORDS)
    for begin in range(0, len(sectors), len(_TILE)):
        part = sectors[begin : begin + len(_TILE)]
        np.bitwise_xor(part, _TILE[: len(part)], out=part)
    return sectors


def stamp(
    offset: int, length: int, identity: Identity, generation: int = 0, operation: int = 0
) -> Bytes:
    """Return the bytes ``[offset, offset + length)`` of a volume stamped by one write.

    The range may have any alignment: the result is a slice of the stamped sectors around it.

    :param offset: bytes from the start of the volume, 0 to 2^63-1.
    :param generation: 0 to 2^32-1; 0 is the prefill, before the case did anything.
    :param operation: 0 to 2^64-1, the number of the request in the history.
    """
    if offset < 0 or length < 0:
        raise ValueError(f"offset {offset} and length {length} must not be negative")
    first = offset // SECTOR
    count = (offset + length + SECTOR - 1) // SECTOR - first
    if length == 0:
        return np.empty(0, dtype=np.uint8)
    lba = np.arange(first, first + count, dtype=np.uint64)
    owner = np.uint64((identity.run & _LOW32) << 32 | identity.volume & _LOW32)
    version = np.uint64((generation & _LOW32) << 32 | identity.writer & _LOW32)
    with np.errstate(over="ignore"):
        sectors = _filled(_keys(int(owner), lba, int(version), operation & _MASK64))
    sectors[:, 0] = _MAGIC_WORD
    sectors[:, 1] = owner
    sectors[:, 2] = lba
    sectors[:, 3] = version
    sectors[:, 4] = np.uint64(operation & _MASK64)
    skip = offset - first * SECTOR
    return sectors.view(np.uint8).reshape(-1)[skip : skip + length]


def stamp_each(writes: Sequence[tuple[int, int, int, int]], identity: Identity) -> list[Bytes]:
    """Return what `stamp` returns for each of many writes, much faster.

    :param writes: offset, length (at least 1), generation and operation of each.
    """
    firsts = [offset // SECTOR for offset, *_ in writes]
    counts = [
        (offset + length + SECTOR - 1) // SECTOR - first
        for first, (offset, length, *_) in zip(firsts, writes, strict=True)
    ]
    starts = np.cumsum([0, *counts])
    # Each sector's number: its place in the array, moved to where its write begins.
    moved = np.array(firsts, dtype=np.int64) - starts[:-1]
    lba = (np.arange(int(starts[-1])) + np.repeat(moved, counts)).astype(np.uint64)
    owner = np.uint64((identity.run & _LOW32) << 32 | identity.volume & _LOW32)
    versions = [(write[2] & _LOW32) << 32 | identity.writer & _LOW32 for write in writes]
    version = np.repeat(np.array(versions, dtype=np.uint64), counts)
    operations = [write[3] & _MASK64 for write in writes]
    operation = np.repeat(np.array(operations, dtype=np.uint64), counts)
    with np.errstate(over="ignore"):
        sectors = _filled(_keys(int(owner), lba, version, operation))
    sectors[:, 0] = _MAGIC_WORD
    sectors[:, 1] = owner
    sectors[:, 2] = lba
    sectors[:, 3] = version
    sectors[:, 4] = operation
    flat = sectors.view(np.uint8).reshape(-1)
    return [
        flat[begin : begin + length]
        for (offset, length, *_), start in zip(writes, starts, strict=False)
        for begin in (int(start) * SECTOR + offset % SECTOR,)
    ]


def sector_words(data: Data) -> Words:
    """Return whole sectors as rows of 64 words; the length must be a multiple of 512 bytes."""
    flat = np.ascontiguousarray(as_array(data))
    return flat.view("<u8").reshape(-1, WORDS)


def fill_keys(words: Words) -> Words:
    """Return the key of each word of the fill; all 59 are equal in a sound sector."""
    keys: Words = words[:, HEADER_WORDS:] ^ _CONSTANTS
    return keys


def header_keys(words: Words) -> Words:
    """Return the key that belongs to each header."""
    with np.errstate(over="ignore"):
        return _keys(words[:, 1], words[:, 2], words[:, 3], words[:, 4])


_STEPS = _CONSTANTS[:-1] ^ _CONSTANTS[1:]
"""Each is different: what two neighbouring words of a fill differ by says where they belong."""
_PLACES = {int(step): HEADER_WORDS + place for place, step in enumerate(_STEPS)}


@dataclass(frozen=True)
class Fragment:
    """A part of a stamp at any place: byte ``at`` of some data is byte ``source`` of the stamp.

    ``key`` is that of the stamp's fill; it belongs to one header only.
    """

    key: int
    source: int
    at: int


def fragment_in(data: bytes) -> Fragment | None:
    """Return the first part of a stamp in data, at any alignment; None without one.

    Two words of the fill prove it: by chance they fit with a probability of 2^-50.
    """
    found: Fragment | None = None
    for at in range(min(8, len(data))):
        count = (len(data) - at) // 8
        if count < 2:
            break
        words = np.frombuffer(data, dtype="<u8", count=count, offset=at)
        steps = words[:-1] ^ words[1:]
        for row in np.flatnonzero(np.isin(steps, _STEPS)):
            place = _PLACES[int(steps[row])]
            start = at + 8 * int(row)
            if found is None or start < found.at:
                key = int(words[row]) ^ int(_CONSTANTS[place - HEADER_WORDS])
                found = Fragment(key, 8 * place, start)
            break
    return found


def keys_of(  # the words of a header
    identity: Identity, first: int, count: int, generation: int, operation: int
) -> Words:
    """Return the keys of the stamps of one write, in ``count`` sectors from ``first`` on."""
    lba = np.arange(first, first + count, dtype=np.uint64)
    owner = (identity.run & _LOW32) << 32 | identity.volume & _LOW32
    version = (generation & _LOW32) << 32 | identity.writer & _LOW32
    with np.errstate(over="ignore"):
        return _keys(owner, lba, version, operation & _MASK64)


def sound(words: Words) -> npt.NDArray[np.bool_]:
    """Return for each sector whether it is a whole stamp: header and fill agree."""
    result: npt.NDArray[np.bool_] = words[:, 0] == _MAGIC_WORD
    if not result.any():
        return result
    rows = np.flatnonzero(result)
    chosen = words if len(rows) == len(words) else words[rows]
    result[rows] = (fill_keys(chosen) == header_keys(chosen)[:, None]).all(axis=1)
    return result


def header_of(row: Words) -> Header:
    """Read the header of one sector (a row of 64 words), sound or not."""
    owner, lba, version, operation = (int(word) for word in row[1:HEADER_WORDS])
    return Header(owner >> 32, owner & _LOW32, lba, version >> 32, version & _LOW32, operation)


def operation_of(data: Data, offset: int) -> int | None:
    """Return the operation of the stamp at the beginning of data.

    :param offset: of the data on its volume, in bytes.
    :return: None where there is no stamp, or one of another place.
    """
    flat = as_array(data)
    if len(flat) < SECTOR or flat[:8].tobytes() != MAGIC:
        return None
    words = sector_words(flat[:SECTOR])
    if not sound(words)[0] or header_of(words[0]).lba * SECTOR != offset:
        return None
    return int(words[0, 4])


def place_of_stamp(
    data: Data, offset: int, sector: int, version: tuple[int, int], identity: Identity
) -> int | None:
    """Return the offset at which the stamp of a sector is in data, elsewhere than in its place.

    Only whole sectors are searched.

    :param offset: of the data on its volume, in bytes.
    :param sector: for which the stamp was made. :param version: generation and operation.
    """
    generation, operation = version
    skip = -offset % SECTOR
    flat = as_array(data)[skip:]
    flat = flat[: len(flat) // SECTOR * SECTOR]
    if not len(flat):
        return None
    words = sector_words(flat)
    owner = (identity.run & _LOW32) << 32 | identity.volume & _LOW32
    same = (
        (words[:, 0] == _MAGIC_WORD)
        & (words[:, 1] == np.uint64(owner))
        & (words[:, 2] == np.uint64(sector))
        & (words[:, 3] >> np.uint64(32) == np.uint64(generation))
        & (words[:, 4] == np.uint64(operation & _MASK64))
    )
    for row in np.flatnonzero(same):
        place = offset + skip + int(row) * SECTOR
        if place != sector * SECTOR and sound(words[row : row + 1])[0]:
            return place
    return None


def verify(data: Data, offset: int, identity: Identity) -> bool:
    """Return whether every sector is a sound stamp of this volume at its own place.

    Any generation and operation are accepted: this needs no record of what was written.

    :param offset: of the data on its volume, in bytes; a multiple of 512, as must be the length.
    """
    words = sector_words(data)
    first = offset // SECTOR
    # Make the stamps of these headers and compare all at once; this needs no array of booleans.
    owner = np.uint64((identity.run & _LOW32) << 32 | identity.volume & _LOW32)
    lba = np.arange(first, first + len(words), dtype=np.uint64)
    version, operation = words[:, 3], words[:, 4]
    with np.errstate(over="ignore"):
        wanted = _filled(_keys(int(owner), lba, version, operation))
    for place, word in enumerate((_MAGIC_WORD, owner, lba, version, operation)):
        wanted[:, place] = word
    return np.array_equal(wanted, words)
