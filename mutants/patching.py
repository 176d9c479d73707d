"""Changing the backend's code, as a patch of its source would."""

from __future__ import annotations

import os
from collections.abc import Callable
from struct import Struct
from typing import Any, NoReturn

from reference_backend.nbd import messages as m

_STATUS = 70
"""Exit status of a server that a bug has killed (EX_SOFTWARE of sysexits.h)."""


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function of a class or module by what ``make`` returns for it."""
    setattr(owner, name, make(getattr(owner, name)))


class Told:
    """Stands for a struct of the handshake, and changes what is packed into it."""

    def __init__(self, real: Struct, change: Callable[..., tuple[Any, ...]]) -> None:
        self._real = real
        self._change = change
        self.size = real.size

    def pack(self, *values: Any) -> bytes:
        """Pack changed values."""
        return self._real.pack(*self._change(*values))


def tell_size(change: Callable[[int], int]) -> None:
    """Tell clients another size of the export, in bytes."""
    replace(m, "EXPORT", lambda real: Told(real, lambda size, flags: (change(size), flags)))
    replace(
        m,
        "INFO_EXPORT",
        lambda real: Told(real, lambda kind, size, flags: (kind, change(size), flags)),
    )


def die() -> NoReturn:
    """End the server as a failed assertion or a wild pointer does."""
    os._exit(_STATUS)
