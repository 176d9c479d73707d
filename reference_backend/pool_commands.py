"""``create list info resize snapshot rm``: commands on a directory of volumes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from blockio.errors import DamagedStore
from reference_backend.file_pools import DirectoryPool
from reference_backend.pool import VolumeInfo

if TYPE_CHECKING:
    from reference_backend.fast_arguments import Arguments


def run(arguments: Arguments) -> int:
    """Run one command on the pool of ``--pool``; return 0.

    :raise StoreError: the volume does not exist, is in use, or is damaged.
    :raise ValueError: the name or the size is not allowed.
    """
    pool = DirectoryPool(arguments.pool, create=arguments.command == "create")
    try:
        _COMMANDS[arguments.command](pool, arguments)
    finally:
        pool.close()
    return 0


def _create(pool: DirectoryPool, arguments: Arguments) -> None:
    pool.create(arguments.name, arguments.size)


def _list(pool: DirectoryPool, arguments: Arguments) -> None:
    infos: list[VolumeInfo] = []
    damages: list[DamagedStore] = []
    for name in pool.list():
        try:
            infos.append(pool.info(name))
        except DamagedStore as error:
            damages.append(error)
    if arguments.json:
        _print(json.dumps([_document(info) for info in infos], indent=1))
    else:
        for info in infos:
            _print(f"{info.size:>20} {info.allocated:>14} {len(info.snapshots):>4}  {info.name}")
    if damages:
        raise damages[0]  # after the output about all other volumes


def _info(pool: DirectoryPool, arguments: Arguments) -> None:
    info = pool.info(arguments.name)
    if arguments.json:
        _print(json.dumps(_document(info), indent=1))
        return
    _print(f"name: {info.name}")
    _print(f"size: {info.size} bytes")
    _print(f"allocated: {info.allocated} bytes")
    for snapshot in info.snapshots:
        _print(f"snapshot: {snapshot}")


def _document(info: VolumeInfo) -> dict[str, object]:
    return {
        "name": info.name,
        "size": info.size,
        "allocated": info.allocated,
        "snapshots": list(info.snapshots),
    }


def _resize(pool: DirectoryPool, arguments: Arguments) -> None:
    pool.resize(arguments.name, arguments.size)


def _snapshot(pool: DirectoryPool, arguments: Arguments) -> None:
    name, snapshot = arguments.name, arguments.snapshot
    if snapshot is None:
        if arguments.delete or arguments.clone:
            msg = "--delete and --clone require the snapshot's name"
            raise ValueError(msg)
        for each in pool.info(name).snapshots:
            _print(each)
    elif arguments.delete:
        pool.remove(f"{name}@{snapshot}")
    elif arguments.clone:
        pool.clone(f"{name}@{snapshot}", arguments.clone)
    else:
        pool.snapshot(name, snapshot)


def _rm(pool: DirectoryPool, arguments: Arguments) -> None:
    pool.remove(arguments.name)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


_COMMANDS: dict[str, Callable[[DirectoryPool, Arguments], None]] = {
    "create": _create,
    "list": _list,
    "info": _info,
    "resize": _resize,
    "snapshot": _snapshot,
    "rm": _rm,
}
