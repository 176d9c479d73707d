"""What libvirt gives to QEMU for each disk of a domain: the command line of domxml-to-native."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qbdcheck.errors import CaseBroken

_PLACES = ("bus", "addr", "bootindex", "id", "drive", "channel", "scsi-id", "lun", "device_id",
           "num-queues-default")  # fmt: skip
"""Properties of a device that say where it is, not how it behaves."""


@dataclass(frozen=True)
class NativeDisk:
    """A disk as QEMU gets it.

    :ivar storage: options of the protocol node. :ivar node: options of the format node, in which
        caching and discard are set again; the protocol node where there is no format node.
    :ivar device: properties of the device.
    """

    storage: Mapping[str, Any]
    node: Mapping[str, Any]
    device: Mapping[str, Any]

    @property
    def behaviour(self) -> dict[str, Any]:
        """The properties of the device without its place on the bus."""
        return {key: value for key, value in self.device.items() if key not in _PLACES}


@dataclass(frozen=True)
class Native:
    """A command line. ``nodes``, ``devices`` and ``objects`` are in its order, as JSON values."""

    words: tuple[str, ...]
    nodes: tuple[dict[str, Any], ...]
    devices: tuple[dict[str, Any], ...]
    objects: tuple[dict[str, Any], ...]

    def device(self, driver: str) -> dict[str, Any]:
        """Return the properties of the first device of this driver.

        :raise CaseBroken: there is none.
        """
        for one in self.devices:
            if one["driver"] == driver:
                return {key: value for key, value in one.items() if key not in _PLACES}
        raise CaseBroken(f"QEMU gets no device {driver}")

    def disk(self, number: int = 0) -> NativeDisk:
        """Return the disk with this number, from 0.

        :raise CaseBroken: there are fewer.
        """
        disks = [device for device in self.devices if "drive" in device]
        if number >= len(disks):
            raise CaseBroken(f"QEMU gets {len(disks)} disks, none with the number {number}")
        named = {node["node-name"]: node for node in self.nodes}
        node = named[disks[number]["drive"]]
        storage = node
        while isinstance(storage.get("file"), str) and storage["file"] in named:
            storage = named[storage["file"]]
        return NativeDisk(storage, node, disks[number])


_ALWAYS = ("node-name", "cache", "discard", "auto-read-only", "read-only", "file", "backing")
"""Options of a node that caching and discard set, and names."""


def options_of(options: Mapping[str, Any]) -> str:
    """Return options on one line, ordered by name, without those that every node has."""
    shown = (f"{key}={_text(options[key])}" for key in sorted(options) if key not in _ALWAYS)
    return " ".join(shown)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + " ".join(f"{key}={_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + " ".join(map(_text, value)) + "]"
    return str(value)


def native_of(command: str) -> Native:
    """Parse the output of ``virsh domxml-to-native qemu-argv``."""
    words = tuple(shlex.split(command))
    found: dict[str, list[dict[str, Any]]] = {"-blockdev": [], "-device": [], "-object": []}
    for option, value in itertools.pairwise(words):
        if option in found and value.startswith("{"):
            found[option].append(json.loads(value))
    return Native(words, *(tuple(found[option]) for option in found))
