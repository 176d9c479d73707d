"""Other exports of a volume's server: its snapshots, their clones, further volumes.

Each is reached in the same way as the volume, with its own name for ``{name}``. All share one
server: to stop, kill or crash one export does so to all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError
from qbdcheck.programs.qmp import Qmp
from qbdcheck.targets.lifecycle import Backend
from qbdcheck.targets.placeholders import fill, fill_tree
from qbdcheck.targets.volume_state import State


class SiblingExport(Backend):
    """Another export of the server of ``host``.

    :param size: in bytes.
    :param ending: commands that remove the export at the end of the case; it may lie outside of
        ``{dir}``. ``more``: further placeholders of these commands.
    """

    def __init__(
        self,
        host: Backend,
        name: str,
        size: int,
        ending: Sequence[str],
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(host.description, host.programs, host.directory.parent, name)
        self.host: Backend = host.host if isinstance(host, SiblingExport) else host
        self.size = size
        self.sizes = self.host.sizes
        self.step = self.host.step
        self.directory = self.host.directory
        self.listeners = self.host.listeners
        self.event_lists = self.host.event_lists
        self._ending = list(ending)
        self._more = dict(more or {})
        self.host.siblings.append(self)

    @property
    def state(self) -> State:
        """The state of the server."""
        return self.host.state

    @state.setter
    def state(self, state: State) -> None:
        """Do nothing: only the host changes the state."""

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self.host.pid

    def values(self, **more: str | int) -> dict[str, str | int | list[str]]:
        """Return the values of the placeholders."""
        return {**self.host.values(), "name": self.name, "size": self.size, **more}

    def create(self, size: int, within_s: float = 0.0) -> None:  # noqa: ARG002  # as a volume's
        """Refuse, because the export exists already."""
        raise CaseBroken(f"{self.name} exists already, it cannot be made again")

    def start(self, read_only: bool | None = None) -> None:
        """Start the server."""
        self.host.start(read_only)

    def end(self) -> None:
        """End the server."""
        self.host.end()

    def kill(self) -> None:
        """Kill the server."""
        self.host.kill()

    def crash(self, seed: int = 0) -> None:
        """Simulate a power cut of all exports of the server."""
        self.host.crash(seed)

    def control_client(self) -> Qmp:
        """Return the connection to the server's control socket."""
        return self.host.control_client()

    def remove(self, keep: bool = False) -> None:
        """Remove what its host's directory does not hold. Never raises: the case is over."""
        if keep:
            return
        with contextlib.suppress(SetupError, ProgramError):
            self._commands(self._ending, "volume.remove", **self._more)


class SnapshotByOptions(SiblingExport):
    """A snapshot that is reached by the name of its volume and further options of the node.

    :param volume: the volume, or a clone. ``snapshot``: the name of the snapshot.
    """

    def __init__(self, volume: Backend, snapshot: str, ending: Sequence[str]) -> None:
        more = {"snapshot": snapshot, "name": volume.name}
        super().__init__(volume, f"{volume.name}@{snapshot}", volume.size, ending, more)

    def values(self, **more: str | int) -> dict[str, str | int | list[str]]:
        """Return the values of the placeholders: ``{name}`` is that of the volume."""
        return {**super().values(), **self._more, **more}

    def _server_blockdev(self) -> dict[str, Any]:
        options = fill_tree(self.description.volume.snapshot_blockdev, self.values())
        assert isinstance(options, dict)
        return {**super()._server_blockdev(), **options}


def snapshot_of(backend: Backend, name: str, take: bool = True) -> SiblingExport:
    """Take a snapshot and return it as an export that can be read.

    :param take: False for a snapshot that exists, because QEMU has made it through its driver.
    :raise NotRun: the profile has neither snapshot_name nor snapshot_blockdev.
    """
    volume = backend.description.volume
    if not volume.serves_snapshots:
        raise NotRun(f"target {backend.description.name} does not serve its snapshots")
    if take:
        backend.snapshot(name)
    ending = volume.snapshot_remove.command if volume.remove and volume.snapshot_remove else ()
    if volume.snapshot_name is None:
        return SnapshotByOptions(backend, name, ending)
    served = fill(volume.snapshot_name, backend.values(snapshot=name))
    return SiblingExport(
        backend, served, backend.size, ending, {"snapshot": name, "name": backend.name}
    )


def remove_snapshot(backend: Backend, name: str) -> None:
    """Remove a snapshot of a volume.

    :raise NotRun: the profile has no action for it.
    """
    action = backend.description.volume.snapshot_remove
    if action is None:
        raise NotRun(f"target {backend.description.name} does not remove snapshots")
    backend.perform(action, "volume.snapshot_remove", snapshot=name)


def remove_volume(backend: Backend) -> None:
    """Remove a volume that a clone or `volume_beside` made; its server continues.

    :raise NotRun: the profile has no action for it.
    :raise CaseBroken: it is the first volume of its server.
    """
    action = backend.description.volume.volume_remove
    if action is None:
        raise NotRun(f"target {backend.description.name} does not remove volumes while it runs")
    if not isinstance(backend, SiblingExport):
        raise CaseBroken(f"{backend.name} is the first volume of its server, it stays")
    backend.announce(alone=True)
    backend.perform(action, "volume.volume_remove")
    if backend in backend.host.siblings:
        backend.host.siblings.remove(backend)


def clone_of(backend: Backend, snapshot: str, new: str, size: int) -> SiblingExport:
    """Make a writable volume of a snapshot.

    :param size: size of the snapshot in bytes.
    :raise NotRun: the profile has no action for it.
    """
    action = backend.description.volume.clone
    if action is None:
        raise NotRun(f"target {backend.description.name} does not make clones")
    backend.perform(action, "volume.clone", snapshot=snapshot, new=new)
    return SiblingExport(backend, new, size, backend.description.volume.remove)


def volume_beside(backend: Backend, new: str, size: int) -> SiblingExport:
    """Make a further volume of ``size`` bytes on the server of a volume.

    :raise NotRun: the profile has no action for it.
    """
    action = backend.description.volume.add
    if action is None:
        raise NotRun(f"target {backend.description.name} serves one volume per server")
    backend.perform(action, "volume.add", new=new, size=size)
    return SiblingExport(backend, new, size, backend.description.volume.remove)
