"""Paths of Unix sockets, which are short."""

from __future__ import annotations

import os
from pathlib import Path

from qbdcheck.errors import SetupError

_MAX = 107
"""Longest path of a Unix socket in bytes (sun_path, unix(7)), without the final zero."""


def check_socket_path(path: Path) -> None:
    """Check that a Unix socket can have this path.

    :raise SetupError: the path is longer than 107 bytes.
    """
    if len(os.fsencode(path)) > _MAX:
        raise SetupError(f"{path} is too long for a Unix socket; set TMPDIR to a shorter path")
