"""Blockdev options as dictionaries, and the forms in which QEMU programs take them.

Reference: qapi/block-core.json, BlockdevOptions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Blockdev = dict[str, Any]


def node(driver: str, node_name: str | None = None, /, **options: object) -> Blockdev:
    """Return a node. Underscores in option names become dashes: ``read_only=True``."""
    result: Blockdev = {"driver": driver}
    if node_name is not None:
        result["node-name"] = node_name
    return {**result, **dashed(options)}


def dashed(options: Mapping[str, object]) -> Blockdev:
    """Return options with dashes in place of underscores, without those that are None."""
    return {key.replace("_", "-"): value for key, value in options.items() if value is not None}


def file_node(path: object, node_name: str | None = None, /, **options: object) -> Blockdev:
    """Return a protocol node on a local file."""
    return node("file", node_name, filename=str(path), **options)


def nbd_node(
    socket: object, export: str = "", node_name: str | None = None, /, **options: object
) -> Blockdev:
    """Return a protocol node on an NBD export behind a Unix socket."""
    server = {"type": "unix", "path": str(socket)}
    return node("nbd", node_name, server=server, export=export, **options)


def over(
    driver: str, file: Blockdev | str, node_name: str | None = None, /, **options: object
) -> Blockdev:
    """Return a format or filter node over another node, given as options or by name."""
    return node(driver, node_name, file=file, **options)


def json_filename(blockdev: Blockdev) -> str:
    """Return the node as a file name that every QEMU program accepts."""
    return "json:" + json.dumps(blockdev, separators=(",", ":"), ensure_ascii=False)


def image_options(blockdev: Blockdev) -> str:
    """Return the node as an argument of ``--image-opts``: dotted keys, commas doubled."""
    return ",".join(f"{key}={value.replace(',', ',,')}" for key, value in _flat(blockdev, ""))


def _flat(value: object, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _flat(item, f"{prefix}.{number}")
    elif isinstance(value, bool):
        yield prefix, "on" if value else "off"
    else:
        yield prefix, str(value)


def object_arguments(objects: Sequence[str]) -> list[str]:
    """Return the arguments that define `objects` for qemu-img and qemu-io."""
    return [part for text in objects for part in ("--object", text)]
