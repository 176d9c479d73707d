"""Errors that a volume or a pool raises.

StoreError                  everything below
├── BlockError              a request failed; carries the errno that the client sees
├── VolumeNotFound          no volume has that name
├── VolumeExists            a volume with that name exists already
├── VolumeInUse             another process has it open
└── DamagedStore            files of a pool are damaged; names file and offset, and how to fix it
"""

from __future__ import annotations

import os


class StoreError(Exception):
    """The base class of all errors of a store."""


class BlockError(StoreError):
    """A request to a volume failed.

    :param errno: a Linux errno number (``errno.EIO``, ``errno.ENOSPC``, ...). The client receives
        the NBD error value for it (NBD document, "Error values").
    :param message: what failed, for people.
    """

    def __init__(self, errno: int, message: str = "") -> None:
        super().__init__(message or os.strerror(errno))
        self.errno = errno


class VolumeNotFound(StoreError):  # noqa: N818  # reads as a sentence where it is raised
    """The pool has no volume with that name."""


class VolumeExists(StoreError):  # noqa: N818
    """The pool already has a volume with that name."""


class VolumeInUse(StoreError):  # noqa: N818
    """Another process has the volume open, or clients are connected to it."""


class DamagedStore(StoreError):  # noqa: N818
    """Files of a pool are damaged; the message names file and offset, and how to fix it."""
