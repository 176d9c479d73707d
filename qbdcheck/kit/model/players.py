"""Players, which run the steps of a script: a volume in this process, the raw NBD client, QEMU."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Sequence

from blockio.errors import BlockError
from blockio.extents import Extent
from blockio.layers import Below, Command, CommandFlag, Layer, Reply, Request, stack
from injectors.layer import create
from oracles.model import StepFailed
from oracles.scripts import Step
from oracles.stamps import Data
from qbdcheck import clock
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.programs.monitored import Monitored
from qbdcheck.programs.requests_sent import note
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.sibling_export import SiblingExport, snapshot_of
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError, NbdProtocolError, OptionRefused
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

_EVENTS = {"write": "write_aio", "zero": "pwritev_zero", "flush": "flush_to_disk",
           "read": "read_aio"}  # fmt: skip
_IOTYPES = {"write": "write", "zero": "write-zeroes", "flush": "flush", "read": "read"}
_CONTEXT = "base:allocation"
_UNDO_BYTES = 64 << 20
_COMMANDS = {
    "write": Command.WRITE,
    "zero": Command.WRITE_ZEROES,
    "discard": Command.TRIM,
    "flush": Command.FLUSH,
    "read": Command.READ,
    "status": Command.BLOCK_STATUS,
}


def fault_rule(step: Step) -> dict[str, object]:
    """Return the rule (docs/rules.md) of a ``fault`` step."""
    return {"event": _EVENTS[step.kind], "iotype": _IOTYPES[step.kind], "errno": step.errno,
            "once": True, "may_not_fire": True}  # fmt: skip


def _flags(step: Step) -> int:
    return CommandFlag.FUA * step.fua | CommandFlag.NO_HOLE * step.no_hole


class InProcess:
    """The reference backend's volume without a server.

    :param layer: makes a layer above the volume (a planted bug), a new one for each script.
    """

    abilities = frozenset(
        {"write", "zero", "discard", "read", "status", "flush", "resize", "snapshot", "power-cut",
         "fault", "fua"}
    )  # fmt: skip

    def __init__(self, layer: Callable[[], Layer] | None = None) -> None:
        self.alignment = 1
        self._make_layer = layer

    def reset(self, size: int, data: bytes) -> None:
        """Make a new volume."""
        self._volume = Volume(MemoryStore(size), "model", undo_limit=_UNDO_BYTES)
        if data:
            self._volume.write(0, data)
        self._volume.flush()
        self._layers: list[Layer] = [self._make_layer()] if self._make_layer else []
        self._faults: list[Layer] = []
        self._snapshots = 0
        self._restack()

    def _restack(self) -> None:
        self._top: Below = stack([*self._layers, *self._faults], self._bottom)

    def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
        """Run a step."""
        match step.do:
            case "resize":
                self._volume.resize(step.size)
                self._volume.flush()
            case "snapshot":
                self._snapshots += 1
                self._volume.snapshot(f"snapshot{self._snapshots}")
            case "power-cut":
                self._volume.power_cut(step.seed)
            case "fault":
                rules = {"rules": [fault_rule(step)]}
                self._faults.append(create(json.dumps(rules), seed=0))  # JSON is YAML
                self._restack()
            case _:
                return self._request(step, data)
        return None

    def read_snapshot(self, number: int) -> Data | None:
        """Return the contents of a snapshot."""
        store = self._volume.store
        assert isinstance(store, MemoryStore)
        frozen = store.open_snapshot(f"snapshot{number + 1}")
        return frozen.read(0, frozen.size)

    def _request(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
        asked = Request(_COMMANDS[step.do], _flags(step), step.offset, step.length, 1, data, 1)
        if not step.length and step.do != "flush":
            return b"" if step.do == "read" else []
        try:
            reply = self._top(asked)
        except BlockError as error:
            raise StepFailed(error.errno, str(error)) from None
        if reply.error:
            raise StepFailed(reply.error)
        if step.do == "status":
            return list(reply.extents[_CONTEXT])
        return reply.data if step.do == "read" else None

    def _bottom(self, request: Request) -> Reply:
        volume, fua = self._volume, bool(request.flags & CommandFlag.FUA)
        place = request.offset, request.length
        match request.command:
            case Command.READ:
                return Reply(data=volume.read(*place))
            case Command.WRITE:
                volume.write(request.offset, request.payload, fua)
            case Command.WRITE_ZEROES:
                no_hole = bool(request.flags & CommandFlag.NO_HOLE)
                volume.write_zeroes(*place, no_hole=no_hole, fua=fua)
            case Command.TRIM:
                volume.discard(*place, fua)
            case Command.FLUSH:
                volume.flush()
            case Command.BLOCK_STATUS:
                return Reply(extents={_CONTEXT: volume.block_status(*place)})
            case _:
                raise BlockError(errno.EINVAL, f"{request.command.name} is not a step")
        return Reply()


class OverNbd:
    """A target's volume, reached by the raw NBD client.

    :param connect: opens a connection to it, directly or through a QEMU program.
    :param close: ends what ``connect`` started, when the connection is closed or lost.
    :param rules: arms faults on the target; None if it takes none.
    :ivar alignment: minimum block of the target, in bytes.
    """

    def __init__(
        self,
        disk: Disk,
        connect: Callable[[], Client],
        close: Callable[[], None] = lambda: None,
        rules: ArmedRules | None = None,
    ) -> None:
        self._disk = disk
        self._connect = connect
        self._close = close
        self._rules = rules
        self._clients: dict[int, Client] = {}
        self._snapshots = 0
        self._readable: list[SiblingExport] = []
        self.alignment = minimum_block(disk)
        able = {"write", "read", "reopen", "reconnect", "wait"}
        client = self._opened()
        offered = disk.backend.description
        able |= _offered(client)
        able |= {"power-cut"} if offered.crash else set()
        able |= {"kill"} if offered.kill and not offered.volatile else set()
        able |= set() if offered.volatile else {"restart"}
        able |= {"connections"} if client.flags & TransmissionFlag.CAN_MULTI_CONN else set()
        able |= {"resize"} if offered.volume.resize and disk.size % 512 == 0 else set()
        able |= {"snapshot"} if offered.volume.snapshot else set()
        able |= {"fault"} if rules is not None else set()
        self.abilities = frozenset(able)

    def _opened(self, number: int = 1) -> Client:
        """Return a connection by its number, from 1; open it if it is not open."""
        if "connections" not in getattr(self, "abilities", ()):
            number = 1
        if number not in self._clients:
            self._clients[number] = self._connect()
        return self._clients[number]

    def _dropped(self, number: int = 0, *, orderly: bool = False) -> None:
        """Close a connection by its number; 0: all."""
        for one in [number] if number else list(self._clients):
            if (client := self._clients.pop(one, None)) is not None:
                with contextlib.suppress(OSError):
                    client.close() if orderly else client.sock.close()
        if not self._clients:
            self._close()

    def reset(self, size: int, data: bytes) -> None:
        """Write the whole volume."""
        if self._rules is not None:
            self._rules.heal()
        self._readable.clear()
        if self._disk.backend.size != size:
            self._dropped()
            self._disk.backend.resize(size)
        client = self._opened()
        if data:
            client.write(0, data)
        if "flush" in self.abilities:
            client.flush()

    def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
        """Run a step."""
        backend = self._disk.backend
        match step.do:
            case "reopen":
                self._dropped(step.connection, orderly=True)
            case "reconnect":
                self._dropped(step.connection)
            case "wait":
                clock.pause(step.ms / 1000)
            case "restart":
                self._dropped(orderly=True)
                backend.stop()
                backend.start()
            case "power-cut":
                backend.crash(seed=step.seed)
                self._dropped()
            case "kill":
                backend.kill()
                self._dropped()
                backend.start()
            case "resize":
                self._opened().flush()
                self._dropped()
                backend.resize(step.size)
                self._opened().flush()
            case "snapshot":
                self._snapshots += 1
                name = f"model{self._snapshots}"
                if backend.description.volume.snapshot_name and backend.uri:
                    self._readable.append(snapshot_of(backend, name))
                else:
                    backend.snapshot(name)
            case "fault":
                assert self._rules is not None
                self._rules.add(fault_rule(step))
            case _:
                return self._request(step, data)
        return None

    def _request(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
        if not step.length and step.do != "flush":
            return b"" if step.do == "read" else []
        try:
            client = self._opened(step.connection)
            if step.do == "read":  # read and write keep to the maximum block
                return client.read(step.offset, step.length)
            if step.do == "write":
                client.write(step.offset, data, _flags(step))
                return None
            reply = client.call(_COMMANDS[step.do], step.offset, step.length, flags=_flags(step))
        except NbdError as error:
            raise StepFailed(error.errno or errno.EIO, error.strerror or "") from None
        except (OSError, EOFError, NbdProtocolError) as error:
            note(f"{step}, a step of a script")  # for the report on a server that died
            raise StepFailed(errno.ECONNRESET, f"connection lost: {error}") from None
        if step.do == "status":
            return [extent for extents in reply.extents.values() for extent in extents]
        return None

    def read_snapshot(self, number: int) -> Data | None:
        """Return the contents of a snapshot, over its own connection to the target."""
        if not self._readable:
            return None
        try:
            with Client.connect(self._readable[number].uri or "") as client:
                return client.read(0, client.size) if client.size else b""
        except (OSError, EOFError, NbdProtocolError, OptionRefused) as error:
            number = getattr(error, "errno", None) or errno.EIO
            raise StepFailed(number, str(error)) from None

    def close(self) -> None:
        """Close the connection."""
        self._dropped()


_OFFERED = {
    "flush": TransmissionFlag.SEND_FLUSH,
    "fua": TransmissionFlag.SEND_FUA,
    "discard": TransmissionFlag.SEND_TRIM,
    "zero": TransmissionFlag.SEND_WRITE_ZEROES,
}


def _offered(client: Client) -> set[str]:
    found = {word for word, flag in _OFFERED.items() if client.flags & flag}
    return found | ({"status"} if _CONTEXT in client.contexts.values() else set())


def through_qemu(
    disk: Disk, open_daemon: Callable[[], Monitored], connect: Callable[[str], Client]
) -> OverNbd:
    """Return a player whose requests go through the block layer of a qemu-storage-daemon.

    :param open_daemon: the fixture ``storage_daemon``; :param connect: the fixture ``nbd``.
    """
    daemons: list[Monitored] = []

    def open_all() -> Client:
        daemon = open_daemon()
        daemons.append(daemon)
        daemon.add(disk.blockdev("model", discard="unmap"))
        return connect(daemon.export("model"))

    def close_all() -> None:
        while daemons:
            daemons.pop().kill()

    player = OverNbd(disk, open_all, close_all)
    player.abilities -= {"connections"}  # each would be a daemon of its own
    return player
