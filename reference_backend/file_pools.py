"""Pools on disk: a directory of volumes, and one raw file.

In a pool's directory, each volume has a directory with its percent-encoded name. Names that are
too long for a file system are cut and end in a hash; the metadata have the whole name. Names with a
leading dot are not volumes. ``.new-*`` and ``.trash-*`` are volumes that are being created or
removed; they are deleted when no process uses them any more. ``.lock`` is held while volumes are
created and removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from blockio.errors import BlockError, StoreError
from reference_backend.pool import Pool, VolumeInfo, VolumeOptions
from reference_backend.store import metadata
from reference_backend.store.directory import DirectoryStore, locked, make
from reference_backend.store.image import ImageStore
from reference_backend.store.segments import segment_paths
from reference_backend.store.sparse_file import SparseFile, block_error, refuse
from reference_backend.store.volume import Volume

_ENCODED_MAX = 200
_HASHED = "%~"


def encoded_name(name: str) -> str:
    """Return the directory entry for a volume's name: safe, unique, at most 255 bytes."""
    encoded = quote(name, safe="")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) > _ENCODED_MAX:
        import hashlib

        digest = hashlib.sha256(name.encode()).hexdigest()
        encoded = encoded[: _ENCODED_MAX - len(digest)] + _HASHED + digest
    return encoded


class DirectoryPool(Pool):
    """The volumes of a directory.

    :param create: create the directory if it is missing.
    :raise OSError: the directory does not exist, or no permission.
    """

    def __init__(
        self,
        path: str | Path,
        options: VolumeOptions = VolumeOptions(),  # noqa: B008  # immutable
        *,
        create: bool = False,
    ) -> None:
        super().__init__(options)
        self.path = Path(path)
        if create:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.path.is_dir():
            msg = f"{self.path}: no such directory; 'create --pool {self.path}' makes it"
            raise ValueError(msg)

    def _at(self, name: str) -> Path:
        return self.path / encoded_name(name)

    def _has(self, name: str) -> bool:
        return bool(name) and self._at(name).is_dir()

    def list(self) -> Sequence[str]:
        """Return the names of all volumes, sorted.

        :raise DamagedStore: the metadata that contain a volume's name are damaged.
        """
        return sorted(
            metadata.load(entry).name if _HASHED in entry.name else unquote(entry.name)
            for entry in self.path.iterdir()
            if not entry.name.startswith(".") and entry.is_dir()
        )

    def snapshots(self, name: str) -> Sequence[str]:
        """Return the names of a volume's snapshots, oldest first."""
        return [record.name for record in metadata.load(self._at(name)).snapshots]

    def info(self, name: str) -> VolumeInfo:
        """Describe a volume or snapshot, also if another process has it open."""
        with self._lock:
            if name in self._open or not self._has(name):
                return super().info(name)
            directory = self._at(name)
            found = metadata.load(directory)
        allocated = sum(path.stat().st_blocks * 512 for path in segment_paths(directory / "data"))
        snapshots = tuple(record.name for record in found.snapshots)
        sizes, read_only = self.options.block_sizes, self.options.read_only
        return VolumeInfo(name, found.size, allocated, snapshots, read_only, sizes)

    def _open_volume(self, name: str) -> Volume:
        store = DirectoryStore(self._at(name), read_only=self.options.read_only)
        return Volume(store, name, **self.options._asdict())

    def _open_snapshot(self, name: str, snapshot: str) -> Volume:
        store = self._store(name).open_snapshot(snapshot)
        options = self.options._replace(read_only=True, undo_limit=0)
        return Volume(store, f"{name}@{snapshot}", **options._asdict())

    def _store(self, name: str) -> DirectoryStore:
        """Return the store of a volume; open (and so lock) it if it is not open."""
        with self.open(name).quiesced() as store:
            assert isinstance(store, DirectoryStore)
            return store

    def _create(self, name: str, size: int) -> None:
        with self._new(name) as directory:
            make(directory, name, size)

    def _clone(self, name: str, snapshot: str, new: str) -> None:
        with self._new(new) as directory:
            self._store(name).clone_to(snapshot, directory, new)

    @contextlib.contextmanager
    def _new(self, name: str) -> Iterator[Path]:
        """Yield an empty directory; afterwards rename it to the volume's name, durably."""
        with self._changing():
            self._refuse_taken(name)  # another process may have created it in the meantime
            directory = self.path / f".new-{uuid.uuid4()}"
            try:
                directory.mkdir(mode=0o700)
                yield directory
                directory.rename(self._at(name))
                metadata.sync_directory(self.path)
            except BaseException as error:
                shutil.rmtree(directory, ignore_errors=True)
                if isinstance(error, OSError):
                    raise block_error(error, str(directory)) from error
                raise

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Lock out other processes that create or remove volumes; remove the rest of crashes."""
        import fcntl

        path = self.path / ".lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            refuse(error, path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for entry in self.path.iterdir():
                if entry.name.startswith((".new-", ".trash-")):
                    shutil.rmtree(entry, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)

    def _remove(self, name: str) -> None:
        directory = self._at(name)
        with self._changing():
            lock: SparseFile = locked(directory, exclusive=True)
            try:
                trash = self.path / f".trash-{uuid.uuid4()}"
                directory.rename(trash)
                metadata.sync_directory(self.path)
                shutil.rmtree(trash, ignore_errors=True)
            finally:
                lock.close()

    def _remove_snapshot(self, name: str, snapshot: str) -> None:
        with self.open(name).quiesced() as store:
            assert isinstance(store, DirectoryStore)
            store.delete_snapshot(snapshot)


class ImagePool(Pool):
    """One raw file under one name, opened at once, so that errors are found at the start.

    :raise VolumeInUse: another server has it open.
    :raise OSError: it cannot be opened.
    """

    def __init__(
        self,
        path: str | Path,
        name: str = "",
        options: VolumeOptions = VolumeOptions(),  # noqa: B008  # immutable
    ) -> None:
        super().__init__(options)
        store = ImageStore(Path(path), read_only=options.read_only)
        self.name = name
        self._open[name] = Volume(store, name, **options._asdict())

    def list(self) -> Sequence[str]:
        """Return the one name."""
        return [self.name]

    def snapshots(self, name: str) -> Sequence[str]:  # noqa: ARG002
        """Return nothing: an image has no snapshots."""
        return []

    def _has(self, name: str) -> bool:
        return name == self.name

    def _refuse(self) -> StoreError:
        import errno

        return BlockError(errno.ENOTSUP, "an image is one volume: nothing to make or remove")

    def _create(self, name: str, size: int) -> None:  # noqa: ARG002
        raise self._refuse()

    def _open_volume(self, name: str) -> Volume:
        return self._open[name]

    def _open_snapshot(self, name: str, snapshot: str) -> Volume:  # noqa: ARG002
        raise self._refuse()

    def _clone(self, name: str, snapshot: str, new: str) -> None:  # noqa: ARG002
        raise self._refuse()

    def remove(self, name: str) -> None:  # noqa: ARG002
        """Refuse: the file does not belong to the server."""
        raise self._refuse()

    def _remove(self, name: str) -> None:  # noqa: ARG002
        raise self._refuse()

    def _remove_snapshot(self, name: str, snapshot: str) -> None:  # noqa: ARG002
        raise self._refuse()
