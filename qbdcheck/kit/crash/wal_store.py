"""A small key-value store with a write-ahead log, for crash tests.

Layout of its disk, in bytes:

    0        super block: magic, sequence number up to which the slots are valid, checksum
    512      log, 64 KiB: records of whole sectors, sequence numbers 1, 2, 3, ... in a ring that
             restarts at each checkpoint; a record holds key, value and a checksum of all
    66048    slots of 512 bytes, one for each key: sequence number, value, checksum

A commit is a record and a flush. A checkpoint writes the slots, flushes, writes the super block,
flushes, and restarts the log. Recovery reads the slots, then all records in sequence until one is
invalid.
"""

from __future__ import annotations

import struct
from typing import Protocol

from xxhash import xxh3_64_intdigest

from blockio.write_log import SECTOR
from oracles.damage import Damage
from oracles.finding import Findings, reported

LOG_AT = SECTOR
LOG_BYTES = 64 << 10
SLOTS_AT = LOG_AT + LOG_BYTES
KEYS = 32
SIZE = -(-(SLOTS_AT + KEYS * SECTOR) // 4096) * 4096
VALUE_MAX = 8 << 10
_SUPER = struct.Struct("<8sQQ")
_RECORD = struct.Struct("<8sQQIIQ")
_MAGIC, _RECORD_MAGIC = b"walstore", b"walrecrd"


class Device(Protocol):
    """The device below the store; offsets and lengths in bytes, whole sectors."""

    def read(self, offset: int, length: int) -> bytes:
        """Read."""
        ...

    def write(self, offset: int, data: bytes) -> object:
        """Write."""
        ...

    def flush(self) -> object:
        """Make all written data durable."""
        ...


class WalStore:
    """The store, on an empty device.

    :param flushes: False plants a bug: commits are not made durable.
    :param ordered: False plants a bug: a checkpoint writes the super block together with its slots.
    """

    def __init__(self, device: Device, *, flushes: bool = True, ordered: bool = True) -> None:
        self._device = device
        self._flushes = flushes
        self._ordered = ordered
        self.sequence = 0
        self._base = 0
        self._end = LOG_AT
        self._values: dict[int, tuple[int, bytes]] = {}
        self._write_super()
        self._device.flush()

    def commit(self, key: int, value: bytes) -> None:
        """Store a value durably; on return it is acknowledged.

        :param key: 0 to 31. :param value: 0 to 8192 bytes; slots keep its checksum and length.
        """
        record = _record(self.sequence + 1, self._base, key, value)
        if self._end + len(record) > LOG_AT + LOG_BYTES:
            self.checkpoint()
            record = _record(self.sequence + 1, self._base, key, value)
        self._device.write(self._end, record)
        if self._flushes:
            self._device.flush()
        self._end += len(record)
        self.sequence += 1
        self._values[key] = (self.sequence, value)

    def checkpoint(self) -> None:
        """Move all values to their slots and restart the log."""
        for key, (sequence, value) in self._values.items():
            self._device.write(SLOTS_AT + key * SECTOR, _slot(sequence, value))
        if self._ordered:
            self._device.flush()
        self._base = self.sequence
        self._end = LOG_AT
        self._write_super()
        self._device.flush()

    def _write_super(self) -> None:
        body = _SUPER.pack(_MAGIC, self._base, xxh3_64_intdigest(_MAGIC, self._base))
        self._device.write(0, body.ljust(SECTOR, b"\0"))


def digest(value: bytes) -> int:
    """Return the digest of a value in the result of `recover`."""
    return xxh3_64_intdigest(value, len(value))


def _record(sequence: int, base: int, key: int, value: bytes) -> bytes:
    check = xxh3_64_intdigest(value, sequence << 16 ^ base << 8 ^ key)
    head = _RECORD.pack(_RECORD_MAGIC, sequence, base, key, len(value), check)
    length = -(-(len(head) + len(value)) // SECTOR) * SECTOR
    return (head + value).ljust(length, b"\0")


def _slot(sequence: int, value: bytes) -> bytes:
    body = struct.pack("<QQ", sequence, digest(value))
    return (body + struct.pack("<Q", xxh3_64_intdigest(body))).ljust(SECTOR, b"\0")


def recover(image: memoryview) -> tuple[int, dict[int, int]]:
    """Return the last sequence number, and the digest of each key's value.

    :raise ValueError: data that is durable according to the super block is damaged.
    """
    magic, base, check = _SUPER.unpack_from(image)
    if magic != _MAGIC and not any(image[:SECTOR]):
        return 0, {}
    if magic != _MAGIC or check != xxh3_64_intdigest(_MAGIC, base):
        raise ValueError("the super block is damaged")
    values: dict[int, int] = {}
    if base:
        _read_slots(image, values)
    sequence, at = base, LOG_AT
    while at + _RECORD.size <= SLOTS_AT:
        magic, number, of_base, key, length, check = _RECORD.unpack_from(image, at)
        end = at + _RECORD.size + length
        if magic != _RECORD_MAGIC or number != sequence + 1 or of_base != base or end > SLOTS_AT:
            break
        value = image[at + _RECORD.size : end]
        if xxh3_64_intdigest(value, number << 16 ^ of_base << 8 ^ key) != check:
            break
        values[key] = xxh3_64_intdigest(value, length)
        sequence, at = number, -(-end // SECTOR) * SECTOR
    return sequence, values


def _read_slots(image: memoryview, values: dict[int, int]) -> None:
    for key in range(KEYS):
        at = SLOTS_AT + key * SECTOR
        body = image[at : at + 16]
        sequence, value = struct.unpack("<QQ", body)
        if not sequence:
            continue
        if struct.unpack_from("<Q", image, at + 16)[0] != xxh3_64_intdigest(body):
            raise ValueError(f"the slot of key {key} is damaged")
        values[key] = value


class WalHistory:
    """The commits of a store and their moments: judges what `recover` finds."""

    changes_the_file = False

    def __init__(self) -> None:
        self._contents: list[dict[int, int]] = [{}]
        self.acknowledged: list[int] = []

    def committed(self, key: int, value: bytes, position: int) -> None:
        """Record a commit that was acknowledged when the log had ``position`` entries."""
        self._contents.append({**self._contents[-1], key: digest(value)})
        self.acknowledged.append(position)

    def check(self, image: memoryview, path: object, limit: int) -> Findings:  # noqa: ARG002
        """Judge a state: it must hold all acknowledged commits (see `explorer.Judge`)."""
        try:
            sequence, values = recover(image)
        except ValueError as error:
            return reported(Damage.METADATA, f"recovery fails: {error}")
        owed = sum(position <= limit for position in self.acknowledged)
        if sequence < owed:
            text = f"commits {sequence + 1} to {owed} were acknowledged and are lost"
            return reported(Damage.LOST, text)
        if sequence >= len(self._contents):
            text = f"commit {sequence} was recovered, {len(self._contents) - 1} were begun"
            return reported(Damage.FILE, text)
        for key, value in self._contents[sequence].items():
            if values.get(key) != value:
                text = f"after commit {sequence} key {key} has another value"
                return reported(Damage.FILE, text)
        return Findings()


def run_workload(
    store: WalStore, history: WalHistory, position: Position, commits: int, stride: int = 1
) -> None:
    """Commit values of 0 to 8 KiB to all keys in turn, with a checkpoint at each 24th."""
    for number in range(commits):
        key = number * 7 % KEYS
        value = bytes([number % 251 + 1]) * (number * 613 * stride % VALUE_MAX)
        store.commit(key, value)
        history.committed(key, value, position())
        if number % 24 == 23:
            store.checkpoint()


class Position(Protocol):
    """A function that returns the number of log entries."""

    def __call__(self) -> int:
        """Return the number of log entries."""
        ...
