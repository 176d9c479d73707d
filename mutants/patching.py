"""Patch the backend's code, as a change of its source would."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from struct import Struct
from typing import Any, NoReturn

from reference_backend.memory_pool import MemoryPool
from reference_backend.nbd import messages as m
from reference_backend.store.volume import Volume

_STATUS = 70
"""Exit status of a server that a bug killed (EX_SOFTWARE of sysexits.h)."""


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function of a class or module with ``make(function)``."""
    setattr(owner, name, make(getattr(owner, name)))


def all_volumes() -> weakref.WeakSet[Volume]:
    """Return the set of all volumes of the server, which grows as they are made."""
    known: weakref.WeakSet[Volume] = weakref.WeakSet()

    def make(real: Any) -> Any:
        def init(volume: Volume, *arguments: Any, **options: Any) -> None:
            real(volume, *arguments, **options)
            known.add(volume)

        return init

    replace(Volume, "__init__", make)
    return known


def change_snapshots(change: Callable[[MemoryPool, str, str, Volume], None]) -> None:
    """Call ``change(pool, name, snapshot, volume)`` for each snapshot that a client opens.

    :param change: may patch ``volume``, the opened snapshot of the volume ``name``.
    """

    def make(real: Any) -> Any:
        def open_snapshot(pool: MemoryPool, name: str, snapshot: str) -> Volume:
            volume: Volume = real(pool, name, snapshot)
            change(pool, name, snapshot, volume)
            return volume

        return open_snapshot

    replace(MemoryPool, "_open_snapshot", make)


class ChangedStruct:
    """A struct of the handshake that packs changed values."""

    def __init__(self, real: Struct, change: Callable[..., tuple[Any, ...]]) -> None:
        self._real = real
        self._change = change
        self.size = real.size

    def pack(self, *values: Any) -> bytes:
        """Change the values, and pack them."""
        return self._real.pack(*self._change(*values))


def report_size(change: Callable[[int], int]) -> None:
    """Report another size of the export to clients, in bytes."""
    replace(
        m, "EXPORT", lambda real: ChangedStruct(real, lambda size, flags: (change(size), flags))
    )
    replace(
        m,
        "INFO_EXPORT",
        lambda real: ChangedStruct(real, lambda kind, size, flags: (kind, change(size), flags)),
    )


def die() -> NoReturn:
    """End the server, as a failed assertion or a wild pointer would."""
    os._exit(_STATUS)
