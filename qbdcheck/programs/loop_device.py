"""A server of one volume as a loop device: ``python loop_device.py FILE LINK [BLOCK_SIZE]``.

It attaches the file to a free loop device, makes LINK a symbolic link to it, and waits for SIGTERM.
The device has the flag AUTOCLEAR: the kernel detaches it when its last user has closed it, also
after SIGKILL (loop(4)). Standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import sys
from pathlib import Path

LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
AUTOCLEAR = 4
"""LO_FLAGS_AUTOCLEAR, linux/loop.h."""
_INFO_FLAGS_AT, _CONFIG_SIZE = 52, 304
_TRIES = 100


def loop_config(fd: int, block_size: int) -> bytearray:
    """Return the ``struct loop_config`` of a file (linux/loop.h).

    :param fd: the open file. :param block_size: logical block size in bytes; 512 to 4096.
    """
    config = bytearray(_CONFIG_SIZE)
    struct.pack_into("=II", config, 0, fd, block_size)
    struct.pack_into("=I", config, 8 + _INFO_FLAGS_AT, AUTOCLEAR)
    return config


def attach(file: Path, block_size: int) -> tuple[int, Path]:
    """Attach `file` to a free loop device. Return an open descriptor of the device, and its path.

    Several processes may look for a free device at once: the loser gets EBUSY and tries again.

    :raise OSError: there are no loop devices, or this user may not use them.
    """
    backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            finally:
                os.close(control)
            path = Path(f"/dev/loop{number}")
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, LOOP_CONFIGURE, loop_config(backing, block_size))
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return device, path
    finally:
        os.close(backing)
    raise OSError(errno.EBUSY, "no free loop device", str(file))


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM. Return the exit status; 2 if the device cannot be made."""
    file, link = Path(arguments[0]), Path(arguments[1])
    block_size = int(arguments[2]) if len(arguments) > 2 else 512
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        device, path = attach(file, block_size)
    except OSError as error:
        sys.stderr.write(f"loop_device: {file}: {error.strerror}\n")
        return 2
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    signal.sigwait([signal.SIGTERM])
    os.fsync(device)
    link.unlink()
    os.close(device)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
