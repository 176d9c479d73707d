"""When a server that was started is ready, and what to say when it never is."""

from __future__ import annotations

import socket
from pathlib import Path

from qbdcheck.clock import now_s, pause
from qbdcheck.errors import NotReadyError
from qbdcheck.programs.daemon import Daemon
from qbdcheck.programs.process import Process, tail
from qbdcheck.targets.description import Ready

STEP_S = 0.001
PORT_GRACE_S = 0.1
"""How long a server lives on that lost its port to another."""


def adopt_daemon(target: str, ready: Ready, starter: Process) -> Daemon:
    """Wait until the starter has gone, and return the daemon that it left.

    :param ready: with its placeholders filled in.
    :raise NotReadyError: it failed, or no process id was written in time.
    """
    if starter.wait(ready.within) != 0:
        raise NotReadyError(_died(target, starter))
    path = Path(ready.pid_file or "")
    deadline = now_s() + ready.within
    while not (path.is_file() and path.read_text().strip().isdigit()):
        if now_s() >= deadline:
            raise NotReadyError(
                f"target {target}: the server wrote no process id to {path} "
                f"within {ready.within:g} s"
            )
        pause(STEP_S)
    return Daemon(int(path.read_text()), starter)


def wait_ready(target: str, ready: Ready, server: Process | Daemon, patience: float) -> None:
    """Wait until something accepts connections where the profile says.

    :param ready: with its placeholders filled in.
    :param patience: factor on the time limit, for debuggers.
    :raise NotReadyError: the server dies before, or is not ready in time.
    """
    deadline = now_s() + ready.within * patience
    where = ready.socket or ready.port or ""
    while not _accepts(where, is_port=ready.port is not None):
        if not server.is_running:
            raise NotReadyError(_died(target, server))
        if now_s() >= deadline:
            said = tail(server.output()) or "nothing"
            raise NotReadyError(
                f"target {target}: the server is not ready within {ready.within:g} s: "
                f"nothing accepts connections on {where}; it said: {said}"
            )
        pause(STEP_S)
    # Somebody else may sit on the port, and have accepted: then ours is about to give up.
    if server.has_ended_within(PORT_GRACE_S if ready.port is not None else 0):
        raise NotReadyError(_died(target, server))


def _died(target: str, server: Process | Daemon) -> str:
    return (
        f"target {target}: the server died at its start: "
        f"{server.describe()} (command: {' '.join(server.argv)})"
    )


def free_port() -> int:
    """Return the number of a TCP port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(where: str, *, is_port: bool) -> bool:
    """Say whether something accepts connections on a Unix socket or a loopback port."""
    if not is_port and not Path(where).exists():
        return False
    family = socket.AF_INET if is_port else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(("127.0.0.1", int(where)) if is_port else where)
        except OSError:
            return False
    return True
