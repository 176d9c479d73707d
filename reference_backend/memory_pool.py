"""A pool in memory; its volumes end with the process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reference_backend.pool import Pool, VolumeOptions, checked_name, checked_size
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume


class MemoryPool(Pool):
    """A pool of volumes that end with the process.

    :param volumes: (name, size in bytes) of the initial volumes. The name "" is allowed here: it is
        NBD's default export.
    """

    def __init__(
        self,
        options: VolumeOptions = VolumeOptions(),  # noqa: B008  # immutable
        volumes: Iterable[tuple[str, int]] = (),
    ) -> None:
        super().__init__(options)
        self._stores: dict[str, MemoryStore] = {}
        for name, size in volumes:
            if name:
                self._refuse_taken(checked_name(name))
            self._create(name, checked_size(size))

    def open(self, name: str) -> Volume:
        """Return the volume of that name; see :meth:`Pool.open`."""
        with self._lock:
            if not name and name in self._stores and name not in self._open:
                return self._opened_now(name, self._open_volume(name))
            return self._open.get(name) or super().open(name)

    def list(self) -> Sequence[str]:
        """Return the names of all volumes, sorted."""
        return sorted(self._stores)

    def snapshots(self, name: str) -> Sequence[str]:
        """Return the names of a volume's snapshots, oldest first."""
        return self._stores[name].snapshots()

    def _has(self, name: str) -> bool:
        return name in self._stores

    def _create(self, name: str, size: int) -> None:
        self._stores[name] = MemoryStore(size)

    def _open_volume(self, name: str) -> Volume:
        return Volume(self._stores[name], name, **self.options._asdict())

    def _open_snapshot(self, name: str, snapshot: str) -> Volume:
        options = self.options._replace(read_only=True, undo_limit=0)
        store = self._stores[name].open_snapshot(snapshot)
        return Volume(store, f"{name}@{snapshot}", **options._asdict())

    def _clone(self, name: str, snapshot: str, new: str) -> None:
        self._stores[new] = self._stores[name].open_snapshot(snapshot).clone()

    def _remove(self, name: str) -> None:
        del self._stores[name]

    def _remove_snapshot(self, name: str, snapshot: str) -> None:
        self._stores[name].delete_snapshot(snapshot)
