"""Commands of the control socket: one method each, documented by its docstring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blockio.errors import DamagedStore, VolumeInUse
from reference_backend.events import Events
from reference_backend.pool import Pool, VolumeInfo
from reference_backend.server import Server
from reference_backend.store.volume import Volume

Arguments = dict[str, Any]
Command = Callable[[Arguments], Any]
_TYPES = {str: "string", int: "integer", bool: "boolean"}
_REQUIRED = object()


class CommandError(Exception):
    """A command was refused; ``error_class`` is QMP's QapiErrorClass."""

    def __init__(self, message: str, error_class: str = "GenericError") -> None:
        super().__init__(message)
        self.error_class = error_class


class ArgumentReader:
    """Reads typed arguments of a message; errors have QEMU's wording."""

    def __init__(self, arguments: Arguments) -> None:
        self._rest = dict(arguments)

    def take(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        """Return the argument.

        :raise CommandError: it is missing and has no default, or it has another type.
        """
        value = self._rest.pop(name, default)
        if value is _REQUIRED:
            msg = f"Parameter '{name}' is missing"
            raise CommandError(msg)
        if value is not default and type(value) is not kind:
            msg = f"Invalid parameter type for '{name}', expected: {_TYPES[kind]}"
            raise CommandError(msg)
        return value

    def end(self) -> None:
        """Check that no argument is left.

        :raise CommandError: the command has no such argument.
        """
        for name in self._rest:
            msg = f"Parameter '{name}' is unexpected"
            raise CommandError(msg)


def query_version(arguments: Arguments) -> Arguments:
    """Return QMP's VersionInfo; ``package`` names this program."""
    ArgumentReader(arguments).end()
    return {"qemu": {"major": 0, "minor": 1, "micro": 0}, "package": "qbdcheck-reference-backend"}


class VolumeCommands:
    """Commands on volumes and on the server.

    :param events: receives VOLUME_RESIZED and POWER_CUT.
    """

    def __init__(self, server: Server, pool: Pool, events: Events) -> None:
        self._server = server
        self._pool = pool
        self._events = events
        for volume in pool.opened():
            self._watch(volume)
        pool.on_open.append(self._watch)

    def _watch(self, volume: Volume) -> None:
        volume.on_resize.append(
            lambda size: self._events.emit("VOLUME_RESIZED", name=volume.name, size=size)
        )

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {
            "query-volumes": self.query_volumes,
            "volume-create": self.volume_create,
            "volume-resize": self.volume_resize,
            "volume-snapshot": self.volume_snapshot,
            "volume-clone": self.volume_clone,
            "volume-remove": self.volume_remove,
            "set-write-cache": self.set_write_cache,
            "power-cut": self.power_cut,
            "query-requests": self.query_requests,
            "query-stats": self.query_stats,
        }

    def query_volumes(self, arguments: Arguments) -> list[Arguments]:
        """Return all volumes: name, size, allocated, snapshots, read-only, pending, block sizes.

        A damaged volume has only its name and ``damaged``, a message.
        """
        ArgumentReader(arguments).end()
        pending = {volume.name: volume.pending() for volume in self._pool.opened()}
        return [self._described(name, pending.get(name, 0)) for name in self._pool.list()]

    def _described(self, name: str, pending: int) -> Arguments:
        try:
            return _document(self._pool.info(name), pending)
        except DamagedStore as error:
            return {"name": name, "damaged": str(error)}

    def volume_create(self, arguments: Arguments) -> Arguments:
        """Create a volume: ``name``, ``size`` in bytes."""
        reader = ArgumentReader(arguments)
        name, size = reader.take("name", str), reader.take("size", int)
        reader.end()
        self._pool.create(name, size)
        return {}

    def volume_resize(self, arguments: Arguments) -> Arguments:
        """Set the ``size`` in bytes of the volume ``name``; like a write, pending until FLUSH."""
        reader = ArgumentReader(arguments)
        name, size = reader.take("name", str), reader.take("size", int)
        reader.end()
        self._pool.resize(name, size)
        return {}

    def volume_snapshot(self, arguments: Arguments) -> Arguments:
        """Keep the contents of the volume ``name`` as ``name@snapshot``."""
        reader = ArgumentReader(arguments)
        name, snapshot = reader.take("name", str), reader.take("snapshot", str)
        reader.end()
        self._pool.snapshot(name, snapshot)
        return {}

    def volume_clone(self, arguments: Arguments) -> Arguments:
        """Create the volume ``name`` from a ``snapshot`` (``volume@snapshot``)."""
        reader = ArgumentReader(arguments)
        snapshot, name = reader.take("snapshot", str), reader.take("name", str)
        reader.end()
        self._pool.clone(snapshot, name)
        return {}

    def volume_remove(self, arguments: Arguments) -> Arguments:
        """Remove the volume ``name`` and its snapshots, or a snapshot; refused while in use."""
        reader = ArgumentReader(arguments)
        name = reader.take("name", str)
        reader.end()
        used = 0
        for info in self._server.connections():
            export = self._pool.open(info.export).name
            used += export == name or export.startswith(name + "@")
        if used:
            msg = f"{used} clients are connected to {name!r}"
            raise VolumeInUse(msg)
        self._pool.remove(name)
        return {}

    def set_write_cache(self, arguments: Arguments) -> Arguments:
        """Set the ``mode`` of the volume ``name``: volatile, or through (durable at once)."""
        reader = ArgumentReader(arguments)
        name, mode = reader.take("name", str), reader.take("mode", str)
        reader.end()
        if mode not in {"volatile", "through"}:
            msg = f"Parameter 'mode' does not accept value '{mode}'"
            raise CommandError(msg)
        self._pool.open(name).set_write_through(mode == "through")
        return {}

    def power_cut(self, arguments: Arguments) -> Arguments:
        """Cut the power of all volumes, or of ``volume``, and end all connections.

        ``seed`` (default 0) decides which acknowledged, unflushed changes are lost. Requests in
        flight, and requests of clients that reconnect too early, get no reply.
        """
        reader = ArgumentReader(arguments)
        seed, name = reader.take("seed", int, 0), reader.take("volume", str, None)
        reader.end()
        volumes = self._pool.opened() if name is None else [self._pool.open(name)]
        try:
            for volume in volumes:
                volume.power_off()
            dropped = self._server.disconnect_all()
            for volume in volumes:
                volume.power_cut(seed)
            dropped += self._server.disconnect_all()
        finally:
            for volume in volumes:
                volume.power_on()
        names = [volume.name for volume in volumes]
        self._events.emit("POWER_CUT", seed=seed, volumes=names)
        return {"volumes": names, "connections": dropped}

    def query_requests(self, arguments: Arguments) -> list[Arguments]:
        """Return the requests in flight: connection, command, offset, length, cookie."""
        ArgumentReader(arguments).end()
        return self._server.query_requests()

    def query_stats(self, arguments: Arguments) -> Arguments:
        """Return counts since start: requests and bytes of each command, errors, connections."""
        ArgumentReader(arguments).end()
        return dict(self._server.statistics())


def _document(info: VolumeInfo, pending: int) -> Arguments:
    minimum, preferred, maximum = info.block_sizes
    return {
        "name": info.name,
        "size": info.size,
        "allocated": info.allocated,
        "snapshots": list(info.snapshots),
        "read-only": info.read_only,
        "pending": pending,
        "block-sizes": {"minimum": minimum, "preferred": preferred, "maximum": maximum},
    }
