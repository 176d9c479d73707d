"""The parts of a target's profile: times, ports, commands, actions, volumes, deviations, nodes."""

from __future__ import annotations

import ipaddress
import re
import shlex
from signal import Signals
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from oracles.damage import Damage
from qbdcheck.targets.placeholders import names_in
from qbdcheck.targets.server_version import parse_range

SignalName = Literal["TERM", "KILL", "INT", "QUIT", "HUP", "USR1", "USR2"]
_PORT_MAX = 65535
_CASE_NUMBER = re.compile(r"\d+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s)?")


def _seconds(value: object) -> object:
    """Return the seconds of ``5``, ``5 s`` and ``500 ms``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a time: use 5 s or 500 ms")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _port(value: object) -> object:
    """Return a port as text. It may have placeholders."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and "{" not in value:
        check_port(value)
    return value


def check_port(port: str) -> int:
    """Return the number of a TCP port.

    :raise ValueError: it is not a number from 1 to 65535.
    """
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= _PORT_MAX):
        raise ValueError(f"not a TCP port: use a number from 1 to {_PORT_MAX}")
    return int(port)


def _damage(value: object) -> object:
    """Return the kind of damage of that name.

    :raise ValueError: there is none.
    """
    if isinstance(value, Damage):
        return value
    known = {kind.value: kind for kind in Damage}
    if value not in known:
        raise ValueError(f"not a kind of damage: use one of {', '.join(known)}")
    return known[str(value)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_action(value: object) -> object:
    return {"command": value} if isinstance(value, str | list) else value


def _command(value: str) -> str:
    try:
        argv = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"{str(error).lower()} in the command") from None
    if not argv:
        raise ValueError("the command is empty")
    return value


def _versions(value: str) -> str:
    parse_range(value)
    return value


def _need(value: str) -> str:
    if value != "root" and not value.startswith("/"):
        raise ValueError("use root, or the absolute path of a file that must exist")
    return value


DamageKind = Annotated[Damage, BeforeValidator(_damage)]
Need = Annotated[str, pydantic.AfterValidator(_need)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=3600)]
Command = Annotated[str, pydantic.AfterValidator(_command)]
Commands = Annotated[list[Command], BeforeValidator(_as_list)]
Port = Annotated[str, BeforeValidator(_port)]
Versions = Annotated[str, pydantic.AfterValidator(_versions)]


class Strict(BaseModel):
    """A part of a profile: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OneAction(Strict):
    """An action on a volume or its server: commands, a signal, or a control command."""

    command: Commands = []
    signal: SignalName | None = None
    control: str | None = None
    arguments: dict[str, Any] = {}
    restart: bool = False
    """Whether the server is stopped before the action and started after it."""

    @pydantic.model_validator(mode="after")
    def _is_one_thing(self) -> OneAction:
        given = [name for name in ("command", "signal", "control") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError("give exactly one of: command, signal, control")
        if self.arguments and not self.control:
            raise ValueError("arguments: requires control:")
        return self

    @property
    def number(self) -> Signals | None:
        """The signal, as a number."""
        return Signals[f"SIG{self.signal}"] if self.signal else None


Action = Annotated[OneAction, BeforeValidator(_as_action)]


class Volume(Strict):
    """The commands that make and change volumes."""

    create: Commands = []
    remove: Commands = []
    resize: Action | None = None
    snapshot: Action | None = None
    snapshot_name: str | None = None
    """The name of a snapshot on the server. It replaces ``{name}``."""
    snapshot_blockdev: dict[str, Any] = {}
    """Options that reach a snapshot of the volume, beside those of ``blockdev:``."""
    snapshot_remove: Action | None = None
    clone: Action | None = None
    add: Action | None = None
    volume_remove: Action | None = None
    """Removes a volume that ``clone`` or ``add`` made, while the server runs."""

    @pydantic.model_validator(mode="after")
    def _snapshots_fit_together(self) -> Volume:
        for key in ("snapshot_name", "snapshot_blockdev", "snapshot_remove", "clone"):
            if getattr(self, key) and not self.snapshot:
                raise ValueError(f"{key}: requires snapshot:")
        if self.volume_remove and not (self.clone or self.add):
            raise ValueError("volume_remove: requires clone: or add:")
        if self.snapshot_name and "snapshot" not in names_in(self.snapshot_name):
            raise ValueError('snapshot_name: must contain {snapshot}, as in "{name}@{snapshot}"')
        if self.snapshot_name and self.snapshot_blockdev:
            raise ValueError("snapshot_blockdev: and snapshot_name: exclude each other")
        return self

    @property
    def serves_snapshots(self) -> bool:
        """Whether snapshots can be read by their own names or options."""
        return bool(self.snapshot_name or self.snapshot_blockdev)


class Ready(Strict):
    """The condition under which a started server is ready."""

    socket: str | None = None
    """A Unix socket that accepts connections."""
    port: Port | None = None
    """A TCP port of the loopback interface that accepts connections."""
    command: Command | None = None
    """A command that exits with 0."""
    pid_file: str | None = None
    """The file in which a server that goes into the background writes its process id."""
    within: Seconds = 5.0

    @pydantic.model_validator(mode="after")
    def _is_one_thing(self) -> Ready:
        if sum(place is not None for place in (self.socket, self.port, self.command)) != 1:
            raise ValueError('give exactly one of: socket: "{socket}", port: "{port}", command:')
        return self


class Deviation(Strict):
    """A case that fails on this target for a known, documented reason."""

    case: str
    """Number or stem of a case."""
    finding: str
    """Anchor in docs/findings.md."""
    formats: list[str] = []
    """Image formats with which the case fails; all by default."""
    versions: Versions | None = None
    """Versions of the server with which the case fails, such as ``>=3.24 <3.27``."""
    qemu: Versions | None = None
    """Versions of QEMU with which the case fails, for a fault of QEMU."""
    sometimes: bool = False
    """Whether the failure depends on timing, so that a pass is right too."""
    damage: list[DamageKind] = []
    """The kinds of damage that the failure has; a failure with another kind is not this one. By
    default all kinds, but with ``sometimes`` none that is wrong contents."""

    @property
    def where(self) -> str:
        """The place where the deviation is documented."""
        return f"docs/findings.md#{self.finding}"

    def is_of(self, case_id: str, image_format: str) -> bool:
        """Return whether the deviation is about a case, given by its stem, and an image format."""
        number = _CASE_NUMBER.match(case_id)
        is_case = self.case == case_id or (
            number is not None and self.case.isdigit() and int(self.case) == int(number[0])
        )
        return is_case and (not self.formats or image_format in self.formats)


class Node(Strict):
    """One node of a cluster. A case starts, kills, pauses it and cuts its links."""

    name: str = Field(pattern=r"^[a-z0-9]+$")
    start: Command
    """A command that runs the node in the foreground."""
    nbd: str
    """NBD URI of the volume at this node; its socket accepts connections when the node is ready."""
    client: Command | None = None
    """A command that runs a client of the cluster, which serves ``nbd``. The nodes' faults do not
    touch it."""
    store: str
    """The file or directory of the node's data."""
    address: str
    """The Unix socket by which the other nodes reach it, or its IPv4 address. A node with an IPv4
    address runs in a network namespace of its own."""
    links: dict[str, str] = {}
    """For each other node, the Unix socket that this node connects to instead of its address."""
    leads: str | None = None
    """A regular expression of the line that the node prints when it becomes the leader."""
    replica: Command | None = None
    """A command that prints the node's copy of the volume as lines of text, the same for equal
    copies. The node does not run meanwhile."""

    @pydantic.field_validator("address")
    @classmethod
    def _is_path_or_ip(cls, value: str) -> str:
        if "/" not in value:
            try:
                ipaddress.IPv4Address(value)
            except ValueError:
                raise ValueError("use the path of a Unix socket, or an IPv4 address") from None
        return value

    @property
    def has_ip(self) -> bool:
        """Whether the address is an IPv4 address, not the path of a Unix socket."""
        return "/" not in self.address
