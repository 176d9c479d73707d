"""Listening sockets: private Unix sockets and TCP."""

from __future__ import annotations

import os
import socket
import stat

Address = str | os.PathLike[str] | tuple[str, int]
"""A Unix socket's path, or host and port (port 0: the kernel chooses)."""
UNIX_PATH_MAX = 107
"""Bytes of the longest Unix socket path (unix(7), sun_path without its NUL)."""
BACKLOG = 1024


class AddressInUse(OSError):  # noqa: N818  # reads as a sentence where it is raised
    """The address is in use; the message names it."""


def listen(address: Address) -> socket.socket:
    """Return a listening socket.

    A Unix socket gets mode 0600. A stale socket (no server accepts) is replaced.

    :raise AddressInUse: a server listens there, or the path is not a socket.
    :raise OSError: the path is too long, its directory is missing, or the port is not permitted.
    """
    if isinstance(address, tuple):
        return _listen_tcp(*address)
    return _listen_unix(os.fspath(address))


def _listen_tcp(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        msg = f"cannot listen on {host}:{port}: {error.strerror}"
        raise AddressInUse(error.errno, msg) from error


def _listen_unix(path: str) -> socket.socket:
    if len(os.fsencode(path)) > UNIX_PATH_MAX:
        msg = f"socket path is longer than {UNIX_PATH_MAX} bytes: {path}"
        raise OSError(msg)
    _clear_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(path)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _clear_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        msg = f"{path} exists and is not a socket"
        raise AddressInUse(msg)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108  # pathlib is slow to load
            return
    msg = f"a server already listens on {path}"
    raise AddressInUse(msg)
