"""What ``scope: run`` demands of a profile: one server for the volumes of all cases of a run.

Such a server starts before any volume exists. So its commands cannot name a volume, and volumes are
made and removed by commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qbdcheck.targets.marked_yaml import KeyPath
from qbdcheck.targets.placeholders import names_in

_OF_SERVER = ("start", "ready", "files", "environment", "stop", "kill", "crash", "version")
"""Keys of the server, which has no volume."""
_OF_VOLUME = ("name", "size", "dir", "case", "snapshot", "new")
_OF_SCOPE = ("run", "case")


def problems(profile: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield what does not fit the scope of a profile, whose keys and types are known to be right.

    :return: the path of a key, and a sentence with the fix.
    """
    if profile.get("scope", "case") == "run":
        yield from _of_keys(profile)
        yield from _of_volume(profile.get("volume", {}))
        yield from _of_server(profile)
        return
    for key, item in profile.items():
        for name in _OF_SCOPE:
            if name in names_in(item):
                yield (key,), f"{{{name}}} requires scope: run"


def _of_keys(profile: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the keys that exclude each other."""
    if "start" not in profile:
        yield ("scope",), "run requires start:, the command of the server"
    if profile.get("volatile"):
        yield ("volatile",), "does not go together with scope: run"


def _of_volume(volume: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong with the commands that make, change and remove volumes."""
    for key in ("create", "remove"):
        if key not in volume:
            yield ("scope",), f"run requires volume.{key}:, for a volume such as {{case}}-{{name}}"
        elif "case" not in names_in(volume[key]):
            yield (
                ("volume", key),
                "has no {case}; name volumes as {case}-{name}, cases share a server",
            )
    for key, action in volume.items():
        if isinstance(action, dict) and action.get("restart"):
            yield ("volume", key), "restart: would stop the server of other cases"


def _of_server(profile: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the keys of the server that name a volume."""
    for key in _OF_SERVER:
        for name in names_in(profile.get(key, "")):
            if name in _OF_VOLUME:
                fix = "a server of scope: run has the directory {run}, and no volume"
                yield (key,), f"{{{name}}} belongs to a volume; {fix}"
