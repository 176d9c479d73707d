"""Pools: volumes and their snapshots by name.

A volume's name is UTF-8 of 1 to 4096 bytes ("pool/vol_100T"); a snapshot's name is
``volume@snapshot``. A pool opens each volume once, and returns the same :class:`Volume` to all
callers.
"""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from blockio.errors import BlockError, VolumeExists, VolumeNotFound
from reference_backend.store.volume import DEFAULT_BLOCK_SIZES, SIZE_MAX, Volume

NAME_BYTES_MAX = 4096
"""Longest name (NBD document, "Values": strings of at most 4096 bytes)."""


class VolumeOptions(NamedTuple):
    """Options with which a pool opens its volumes; see :class:`Volume`."""

    undo_limit: int = 0
    write_through: bool = False
    block_sizes: tuple[int, int, int] = DEFAULT_BLOCK_SIZES
    read_only: bool = False


class VolumeInfo(NamedTuple):
    """The description of a volume; sizes in bytes."""

    name: str
    size: int
    allocated: int
    snapshots: tuple[str, ...]
    read_only: bool
    block_sizes: tuple[int, int, int]


def checked_name(name: str) -> str:
    """Return the name if it is allowed.

    :raise ValueError: it is empty, too long, not UTF-8, or has a NUL or a "." or ".." component.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        msg = f"name {name!r} is not valid UTF-8"
        raise ValueError(msg) from None
    if not name or length > NAME_BYTES_MAX:
        msg = f"a name has 1 to {NAME_BYTES_MAX} bytes, this one has {length}"
        raise ValueError(msg)
    if "\0" in name or {".", ".."} & set(name.split("/")):
        msg = f"name {name!r} holds NUL, or '.' or '..' between slashes"
        raise ValueError(msg)
    return name


def checked_size(size: int) -> int:
    """Return the size in bytes if it is allowed.

    :raise ValueError: it is outside of 0..2^63-1.
    """
    if not 0 <= size <= SIZE_MAX:
        msg = f"size {size} is outside of 0..{SIZE_MAX}"
        raise ValueError(msg)
    return size


class Pool(ABC):
    """The base of all pools: one open Volume for each name, and common checks."""

    def __init__(self, options: VolumeOptions = VolumeOptions()) -> None:  # noqa: B008  # immutable
        self.options = options
        self._lock = threading.RLock()
        self._open: dict[str, Volume] = {}
        self.on_open: list[Callable[[Volume], None]] = []
        """Called with each volume when it is opened."""

    # -- the interface for the server (nbd.settings.Exports)

    def open(self, name: str) -> Volume:
        """Return the volume or snapshot with that name; "" is the only volume of a pool.

        :raise VolumeNotFound: there is none.
        :raise DamagedStore: its files are damaged.
        """
        with self._lock:
            if not name:
                names = self.list()
                if len(names) != 1:
                    msg = f"no default: the pool has {len(names)} volumes, name one"
                    raise VolumeNotFound(msg)
                name = names[0]
            volume = self._open.get(name)
            if volume is None:
                volume = self._opened_now(name, self._open_new(name))
            return volume

    def _opened_now(self, name: str, volume: Volume) -> Volume:
        self._open[name] = volume
        for callback in self.on_open:
            callback(volume)
        return volume

    def _open_new(self, name: str) -> Volume:
        if self._has(name):
            return self._open_volume(name)
        volume, at, snapshot = name.rpartition("@")
        if at and self._has(volume) and snapshot in self.snapshots(volume):
            return self._open_snapshot(volume, snapshot)
        msg = f"no volume {name!r}"
        raise VolumeNotFound(msg)

    @abstractmethod
    def list(self) -> Sequence[str]:
        """Return the names of all volumes, sorted; without snapshots."""

    # -- create, change and remove volumes

    def create(self, name: str, size: int) -> None:
        """Create a volume that reads as zeroes; O(1) for any size in bytes.

        :raise BlockError: EPERM if the pool is read-only; the same for all methods that change it.
        :raise VolumeExists: a volume or snapshot has that name.
        :raise ValueError: the name or the size is not allowed.
        """
        with self._lock:
            self._refuse_read_only()
            self._refuse_taken(checked_name(name))
            self._create(name, checked_size(size))

    def clone(self, snapshot: str, name: str) -> None:
        """Create a writable volume with the contents of ``volume@snapshot``.

        :raise VolumeNotFound: the snapshot does not exist.
        :raise VolumeExists: the new name is taken.
        """
        with self._lock:
            self._refuse_read_only()
            self._refuse_taken(checked_name(name))
            volume, at, which = snapshot.rpartition("@")
            if not at or not self._has(volume) or which not in self.snapshots(volume):
                msg = f"no snapshot {snapshot!r}"
                raise VolumeNotFound(msg)
            self._clone(volume, which, name)

    def remove(self, name: str) -> None:
        """Delete a volume with its snapshots, or one snapshot (``volume@snapshot``).

        :raise VolumeNotFound: no volume has that name.
        """
        with self._lock:
            self._refuse_read_only()
            if self._has(name):
                for each in [one for one in self._open if self._belongs(one, name)]:
                    self._open.pop(each).close()
                self._remove(name)
                return
            volume, at, snapshot = name.rpartition("@")
            if not at or not self._has(volume) or snapshot not in self.snapshots(volume):
                msg = f"no volume {name!r}"
                raise VolumeNotFound(msg)
            if name in self._open:
                self._open.pop(name).close()
            self._remove_snapshot(volume, snapshot)

    def _belongs(self, name: str, volume: str) -> bool:
        snapshot = name.startswith(volume + "@") and not self._has(name)
        return name == volume or (snapshot and name.rpartition("@")[0] == volume)

    def resize(self, name: str, size: int) -> None:
        """Set the size of a volume in bytes; durable on return, like all management commands.

        :raise VolumeNotFound: no volume has that name.
        :raise BlockError: EPERM read-only, EINVAL for a size outside of 0..2^63-1.
        """
        volume = self.open(name)
        volume.resize(size)
        volume.flush()

    def snapshot(self, name: str, snapshot: str) -> None:
        """Save the present contents of a volume as ``name@snapshot``.

        :raise VolumeNotFound: the volume does not exist.
        :raise VolumeExists: the name is taken.
        :raise ValueError: the snapshot's name is not allowed.
        """
        with self._lock:
            self._refuse_read_only()
            checked_name(snapshot)
            if "@" in snapshot:
                msg = f"a snapshot's name has no '@': {snapshot!r}"
                raise ValueError(msg)
            volume = self.open(name)
            self._refuse_taken(f"{volume.name}@{snapshot}")
            volume.snapshot(snapshot)

    @abstractmethod
    def snapshots(self, name: str) -> Sequence[str]:
        """Return the names of a volume's snapshots, oldest first."""

    def info(self, name: str) -> VolumeInfo:
        """Describe a volume or a snapshot.

        :raise VolumeNotFound: no volume has that name.
        """
        with self._lock:
            volume = self.open(name)
            snapshots = tuple(self.snapshots(volume.name)) if self._has(volume.name) else ()
        return VolumeInfo(
            volume.name,
            volume.size,
            volume.allocated(),
            snapshots,
            volume.read_only,
            volume.block_sizes,
        )

    def opened(self) -> Sequence[Volume]:
        """Return the volumes that are open."""
        with self._lock:
            return list(self._open.values())

    def close(self) -> None:
        """Flush and close all volumes."""
        with self._lock:
            volumes = list(self._open.values())
            self._open.clear()
        failures: list[BlockError] = []
        for volume in volumes:
            try:
                volume.close()
            except BlockError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _refuse_read_only(self) -> None:
        if self.options.read_only:
            raise BlockError(errno.EPERM, "the pool is read-only")

    def _refuse_taken(self, name: str) -> None:
        volume, at, snapshot = name.rpartition("@")
        if self._has(name) or (at and self._has(volume) and snapshot in self.snapshots(volume)):
            msg = f"there is a volume {name!r} already"
            raise VolumeExists(msg)

    # -- methods of each kind of pool

    @abstractmethod
    def _has(self, name: str) -> bool: ...

    @abstractmethod
    def _create(self, name: str, size: int) -> None: ...

    @abstractmethod
    def _open_volume(self, name: str) -> Volume: ...

    @abstractmethod
    def _open_snapshot(self, name: str, snapshot: str) -> Volume: ...

    @abstractmethod
    def _clone(self, name: str, snapshot: str, new: str) -> None: ...

    @abstractmethod
    def _remove(self, name: str) -> None: ...

    @abstractmethod
    def _remove_snapshot(self, name: str, snapshot: str) -> None: ...
