"""SQLite on a block device: database, journal and write-ahead log as regions of one volume.

SQLite reaches files through a VFS (https://sqlite.org/vfs.html); this one keeps three files on a
device, each in its own region, with their sizes in the first sector. It gives the guarantees of a
file system: after xSync of a file its data and its size are durable; after xDelete with syncDir the
file is durably removed. Before that, any part may or may not be there after a crash; sizes are
written when they change, and not in order with the data. No file ever shows the data of another
file, or its own from before it was emptied: it gets a new region then.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Protocol

import apsw

from blockio.write_log import SECTOR
from oracles.damage import Damage
from oracles.finding import Findings, reported

REGION = 256 << 10
REGIONS = 24
NAMES = ("db", "db-journal", "db-wal")
SIZE = SECTOR + REGION * REGIONS
_ABSENT = (1 << 64) - 1
_TABLE = struct.Struct(f"<{2 * len(NAMES)}Q")


class Device(Protocol):
    """The device below the files; offsets in bytes, whole sectors."""

    def read(self, offset: int, length: int) -> bytes:
        """Read."""
        ...

    def write(self, offset: int, data: bytes) -> object:
        """Write."""
        ...

    def flush(self) -> object:
        """Make all written data durable."""
        ...


class DiskVfs(apsw.VFS):
    """A VFS whose files are on a device.

    :param name: name of the VFS, for `apsw.Connection`.
    :param fresh: start without files; otherwise with those on the device.
    """

    def __init__(self, name: str, device: Device, fresh: bool = True) -> None:
        self.name = name
        self.device = device
        self.sizes = [_ABSENT] * len(NAMES)
        self.regions = list(range(len(NAMES)))
        self._next = len(NAMES)
        if fresh:
            self.write_sizes()
            device.flush()
        else:
            table = _TABLE.unpack(device.read(0, SECTOR)[: _TABLE.size])
            self.sizes, self.regions = list(table[: len(NAMES)]), list(table[len(NAMES) :])
            self._next = REGIONS - len(NAMES)
        super().__init__(name, base="")

    def write_sizes(self) -> None:
        """Write the table of sizes; durable with the next flush."""
        table = _TABLE.pack(*self.sizes, *self.regions)
        self.device.write(0, table.ljust(SECTOR, b"\0"))

    def begin(self, number: int) -> None:
        """Make a file empty, in an unused region.

        :raise apsw.FullError: no region is left.
        """
        if self._next == REGIONS:
            raise apsw.FullError("no region left")
        self.sizes[number], self.regions[number] = 0, self._next
        self._next += 1
        self.write_sizes()

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802  # SQLite's name
        """Open a file; create it if it does not exist."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        number = NAMES.index(path.rpartition("/")[2])
        if self.sizes[number] == _ABSENT:
            self.begin(number)
        flags[1] = flags[0]
        return DiskFile(self, number)

    def xAccess(self, path: str, flags: int) -> bool:  # noqa: ARG002, N802
        """Return whether a file exists."""
        return self.sizes[NAMES.index(path.rpartition("/")[2])] != _ABSENT

    def xDelete(self, path: str, sync: bool) -> None:  # noqa: N802
        """Remove a file."""
        self.sizes[NAMES.index(path.rpartition("/")[2])] = _ABSENT
        self.write_sizes()
        if sync:
            self.device.flush()

    def xFullPathname(self, path: str) -> str:  # noqa: N802
        """Return the name unchanged."""
        return path


class DiskFile:
    """A file of a `DiskVfs`."""

    def __init__(self, vfs: DiskVfs, number: int) -> None:
        self._vfs = vfs
        self._number = number

    @property
    def _start(self) -> int:
        return SECTOR + self._vfs.regions[self._number] * REGION

    @property
    def _size(self) -> int:
        return self._vfs.sizes[self._number]

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        """Read; short at the end."""
        amount = max(0, min(amount, self._size - offset))
        begin = offset - offset % SECTOR
        end = -(-(offset + amount) // SECTOR) * SECTOR
        data = self._vfs.device.read(self._start + begin, end - begin)
        return bytes(data[offset - begin : offset - begin + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Write, growing the file."""
        if offset + len(data) > REGION:
            raise apsw.FullError("the region is full")
        begin = offset - offset % SECTOR
        end = -(-(offset + len(data)) // SECTOR) * SECTOR
        whole = bytearray(self._vfs.device.read(self._start + begin, end - begin))
        whole[offset - begin : offset - begin + len(data)] = data
        self._vfs.device.write(self._start + begin, bytes(whole))
        if offset + len(data) > self._size:
            self.xTruncate(offset + len(data))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        """Set the size."""
        if size < self._size:
            self._shorten(size)
        elif size > self._size:
            self._vfs.sizes[self._number] = size
            self._vfs.write_sizes()

    def _shorten(self, size: int) -> None:
        end = -(-self._size // SECTOR) * SECTOR
        data = self.xRead(end, 0)[:size]
        self._vfs.begin(self._number)
        if data:
            self.xWrite(data, 0)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        """Make data and size durable."""
        self._vfs.device.flush()

    def xFileSize(self) -> int:  # noqa: N802
        """Return the size in bytes."""
        return self._size

    def xClose(self) -> None:  # noqa: N802
        """Close; the device stays."""

    def xLock(self, level: int) -> None:  # noqa: N802
        """Grant all locks: there is one user."""

    def xUnlock(self, level: int) -> None:  # noqa: N802
        """Do nothing: there is one user."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        """Return False: there is one user."""
        return False

    def xFileControl(self, op: int, pointer: int) -> bool:  # noqa: ARG002, N802
        """Return False: no operation is supported."""
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        """Return the size in bytes of atomic writes."""
        return SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        """Return 0: a plain disk promises nothing."""
        return 0


class Memory:
    """A device over the bytes of a crash state; writes of SQLite's recovery go to a copy.

    :param image: stays unchanged.
    """

    def __init__(self, image: memoryview) -> None:
        self._image = image
        self._written: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Read the image, with the written data over it."""
        if not self._written:
            return bytes(self._image[offset : offset + length])
        return b"".join(
            self._written.get(at) or bytes(self._image[at : at + SECTOR])
            for at in range(offset, offset + length, SECTOR)
        )

    def write(self, offset: int, data: bytes) -> None:
        """Write to the copy."""
        for at in range(0, len(data), SECTOR):
            self._written[offset + at] = data[at : at + SECTOR]

    def flush(self) -> None:
        """Do nothing."""


def connect(vfs: DiskVfs, journal: str, synchronous: str) -> apsw.Connection:
    """Open the database.

    :param journal: delete, truncate, persist or wal.
    :param synchronous: off, normal, full or extra.
    """
    connection = apsw.Connection("db", vfs=vfs.name)
    # Exclusive, because a write-ahead log otherwise needs shared memory (https://sqlite.org/wal.html).
    connection.execute("PRAGMA locking_mode=exclusive")
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    return connection


class SqliteHistory:
    """The committed transactions of a database: judges what SQLite's recovery finds."""

    changes_the_file = False

    def __init__(self) -> None:
        self.contents: list[list[tuple[int, str]]] = [[]]
        self.acknowledged: list[int] = []
        self._opened = 0

    def check(self, image: memoryview, path: object, limit: int) -> Findings:  # noqa: ARG002
        """Judge a state (as `qbdcheck.kit.crash.explorer.Judge`)."""
        owed = sum(position <= limit for position in self.acknowledged)
        self._opened += 1
        vfs = DiskVfs(f"judge{self._opened}", Memory(image), fresh=False)
        try:
            return self._judge(vfs, owed)
        except apsw.Error as error:
            text = f"SQLite: {type(error).__name__}: {error}"
            return reported(Damage.METADATA, text)
        finally:
            vfs.unregister()

    def _judge(self, vfs: DiskVfs, owed: int) -> Findings:
        connection = apsw.Connection("db", vfs=vfs.name)
        try:
            connection.execute("PRAGMA locking_mode=exclusive")
            checked = connection.execute("PRAGMA integrity_check").fetchall()
            if checked != [("ok",)]:
                return reported(Damage.METADATA, f"integrity_check: {checked[0][0]}")
            has = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0]
            rows: Sequence[Any] = []
            if has:
                rows = connection.execute("SELECT id, text FROM t ORDER BY id").fetchall()
        finally:
            connection.close()
        known = {tuple(rows): number for number, rows in enumerate(self.contents)}
        number = known.get(tuple(rows))
        if number is None:
            text = f"{len(rows)} rows that were never committed together"
            return reported(Damage.FILE, text)
        # Equal contents can occur twice: the newest one counts.
        newest = max(n for n, contents in enumerate(self.contents) if contents == list(rows))
        if newest < owed:
            text = f"transactions {newest + 1} to {owed} were committed and are lost"
            return reported(Damage.LOST, text)
        return Findings()


def run_transactions(
    connection: apsw.Connection, history: SqliteHistory, position: Position, count: int
) -> None:
    """Commit transactions that insert, update and delete rows of 10 bytes to 3 KiB."""
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)")
    rows: dict[int, str] = {}
    for number in range(count):
        connection.execute("BEGIN")
        for step in range(3):
            key = (number * 5 + step * 11) % 17
            text = f"{number:04}" * (3 + number * 37 % 700)
            connection.execute("INSERT OR REPLACE INTO t VALUES(?, ?)", (key, text))
            rows[key] = text
        if number % 4 == 3:
            gone = min(rows)
            connection.execute("DELETE FROM t WHERE id = ?", (gone,))
            del rows[gone]
        history.contents.append(sorted(rows.items()))
        connection.execute("COMMIT")
        history.acknowledged.append(position())


class Position(Protocol):
    """A function that returns the number of log entries."""

    def __call__(self) -> int:
        """Return the number of log entries."""
        ...
