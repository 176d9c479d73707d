"""Errors that a volume or a pool raises.

StoreError                  everything below
├── BlockError              a request failed; carries the errno that the client sees
├── VolumeNotFound          no volume of that name
├── VolumeExists            a volume of that name is there already
├── VolumeInUse             another process has it open
└── DamagedStore            files of a pool cannot be trusted; names file, place and mend
"""

from __future__ import annotations

import os


class StoreError(Exception):
    """Root of the errors of this package."""


class BlockError(StoreError):
    """A request to a volume failed.

    :param errno: a Linux errno number (``errno.EIO``, ``errno.ENOSPC``, ...); what the client sees
        is this number mapped to the values of the NBD document, "Error values".
    :param message: what failed, for people.
    """

    def __init__(self, errno: int, message: str = "") -> None:
        super().__init__(message or os.strerror(errno))
        self.errno = errno


class VolumeNotFound(StoreError):  # noqa: N818  # reads as a sentence where it is raised
    """No volume of that name is in the pool."""


class VolumeExists(StoreError):  # noqa: N818
    """A volume of that name is in the pool already."""


class VolumeInUse(StoreError):  # noqa: N818
    """Another process has the volume open, or clients are connected to it."""


class DamagedStore(StoreError):  # noqa: N818
    """Files of a pool cannot be trusted; the message names the file, the place and the mend."""
