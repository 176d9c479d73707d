"""A volume in a directory of its own: segments, metadata, snapshots, and a lock.

The order of changes ensures that SIGKILL or a power cut leaves the old or the new state:

    shrink           metadata durable, then the files
    grow             the files, then metadata durable; the next open makes the files fit
    snapshot         copy under a temporary name, durable; rename; metadata durable
    delete snapshot  metadata durable; then the files
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from pathlib import Path

from blockio.errors import BlockError, DamagedStore, VolumeInUse
from reference_backend.store.metadata import Metadata, SnapshotRecord, load, save, sync_directory
from reference_backend.store.segments import Segments
from reference_backend.store.sparse_file import SparseFile, block_error, refuse

_LOCK = "lock"
_DATA = "data"
_SNAPSHOTS = "snapshots"


def make(directory: Path, name: str, size: int) -> None:
    """Create a volume in an existing, empty directory; O(1).

    :raise BlockError: ENOSPC, EIO.
    """
    save(directory, Metadata(name=name, uuid=str(uuid.uuid4()), size=size))


class DirectoryStore(Segments):
    """An open volume. Not thread-safe, except :meth:`sync`.

    :raise VolumeInUse: another process has it open.
    :raise DamagedStore: metadata or files are damaged.
    :raise OSError: it cannot be opened.
    """

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self._home = directory
        self._lock_file = locked(directory, exclusive=not read_only)
        try:
            self.metadata = load(directory)
            super().__init__(
                directory / _DATA,
                self.metadata.size,
                self.metadata.segment_bytes,
                read_only=read_only,
            )
            self._check_snapshots()
            if not read_only:
                self._put_right()
        except BaseException:
            self._lock_file.close()
            raise

    def _check_snapshots(self) -> None:
        for record in self.metadata.snapshots:
            if not (self._home / _SNAPSHOTS / record.directory).is_dir():
                path = self._home / _SNAPSHOTS / record.directory
                msg = (
                    f"{path}: missing, but snapshot {record.name!r} needs it; restore it from a"
                    f" backup, or make an empty directory there to give up the snapshot's contents"
                )
                raise DamagedStore(msg)

    def _put_right(self) -> None:
        """Complete or undo a change that a crash interrupted."""
        self.fit()
        (self._home / "volume.json.new").unlink(missing_ok=True)
        known = {record.directory for record in self.metadata.snapshots}
        snapshots = self._home / _SNAPSHOTS
        if snapshots.is_dir():
            for entry in snapshots.iterdir():
                if entry.name not in known:
                    shutil.rmtree(entry)

    def _save(self, metadata: Metadata) -> None:
        save(self._home, metadata)
        self.metadata = metadata

    def resize(self, size: int) -> None:
        """Set the size in bytes; durable when it returns.

        :raise BlockError: ENOSPC, EIO; a growth that fails changes nothing.
        """
        if size < self.size:
            self._save(self.metadata._replace(size=size))
            super().resize(size)
            self.sync()  # else a growth after a power cut could bring old bytes back
        elif size > self.size:
            self._grow(size)

    def _grow(self, size: int) -> None:
        old = self.size
        try:
            super().resize(size)
            self._save(self.metadata._replace(size=size))
        except BlockError:
            super().resize(old)
            raise

    def snapshot(self, name: str) -> None:
        """Copy the present contents, which the caller has made durable, to snapshot ``name``.

        :raise BlockError: ENOSPC, EIO; no part of the snapshot is left.
        """
        number = str(self.metadata.next_snapshot)
        snapshots = self._home / _SNAPSHOTS
        temporary = snapshots / f"{number}.new"
        try:
            snapshots.mkdir(mode=0o700, exist_ok=True)
            temporary.mkdir(mode=0o700)
            self.copy_to(temporary)
            temporary.rename(snapshots / number)
            sync_directory(snapshots)
            sync_directory(self._home)
            record = SnapshotRecord(name, number, self.size)
            self._save(
                self.metadata._replace(
                    snapshots=(*self.metadata.snapshots, record),
                    next_snapshot=self.metadata.next_snapshot + 1,
                )
            )
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if self.metadata.next_snapshot == int(number):
                shutil.rmtree(snapshots / number, ignore_errors=True)
            if isinstance(error, OSError):
                raise block_error(error, f"{temporary}") from error
            raise

    def snapshots(self) -> list[str]:
        """Return the names of the snapshots, oldest first."""
        return [record.name for record in self.metadata.snapshots]

    def _record(self, name: str) -> SnapshotRecord:
        return next(record for record in self.metadata.snapshots if record.name == name)

    def open_snapshot(self, name: str) -> SnapshotSegments:
        """Return the read-only store of a snapshot, which must exist."""
        record = self._record(name)
        directory = self._home / _SNAPSHOTS / record.directory
        return SnapshotSegments(directory, record.size, self.metadata.segment_bytes, read_only=True)

    def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot, which must exist.

        :raise BlockError: EIO; the snapshot still exists.
        """
        record = self._record(name)
        rest = tuple(each for each in self.metadata.snapshots if each is not record)
        self._save(self.metadata._replace(snapshots=rest))
        shutil.rmtree(self._home / _SNAPSHOTS / record.directory, ignore_errors=True)

    def clone_to(self, snapshot: str, directory: Path, name: str) -> None:
        """Create a volume with a snapshot's contents in an existing, empty directory.

        :raise BlockError: ENOSPC, EIO; the directory is left incomplete.
        """
        source = self.open_snapshot(snapshot)
        try:
            data = directory / _DATA
            data.mkdir(mode=0o700)
            source.copy_to(data)
        finally:
            source.close()
        make(directory, name, source.size)

    def close(self) -> None:
        """Close all files, which releases the lock."""
        super().close()
        self._lock_file.close()


class SnapshotSegments(Segments):
    """The read-only store of a snapshot."""

    def snapshot(self, name: str) -> None:
        """Refuse."""
        msg = f"{self.directory}: a snapshot has no snapshots ({name!r})"
        raise ValueError(msg)


def locked(directory: Path, *, exclusive: bool) -> SparseFile:
    """Lock a volume; closing the returned file releases the lock.

    :raise VolumeInUse: another process has the lock.
    :raise OSError: no permission, or the directory does not exist.
    """
    path = directory / _LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if exclusive or error.errno not in {errno.EACCES, errno.EROFS}:
            refuse(error, path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    file = SparseFile(path, descriptor)
    if file.lock(exclusive):
        return file
    file.close()
    msg = f"volume {file.path.parent} is in use by another process"
    raise VolumeInUse(msg)
