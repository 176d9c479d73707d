"""A proxy in front of the NBD server of a target that takes no rules itself.

From its start on, the case reaches the volume through it: blockdev options and URI of the backend
lead to its socket.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any
from urllib.parse import quote

from qbdcheck.errors import NotRun
from qbdcheck.files import ROOT
from qbdcheck.programs.process import Process
from qbdcheck.programs.qmp import Qmp, connect_within
from qbdcheck.targets.lifecycle import Backend
from qbdcheck.targets.profile_parts import Ready
from qbdcheck.targets.readiness import accepts, wait_ready
from reference_backend.client import Client, parse_uri
from reference_backend.listener import Address
from reference_backend.nbd.errors import NbdProtocolError

READY_S = 10.0


class FaultProxy:
    """A running proxy in front of one backend; it survives restarts of the backend.

    :param seed: seed of random rules.
    :raise NotRun: the backend has no NBD server. :raise SetupError: the proxy does not start.
    """

    def __init__(self, backend: Backend, seed: int) -> None:
        uri = backend.uri
        name = f"{backend.name}.proxy"
        if uri is None:
            raise NotRun(
                f"target {backend.description.name} takes no fault rules, and has no NBD "
                "server for a proxy"
            )
        address, export, _secure = parse_uri(uri)
        if _is_oldstyle(address):
            raise NotRun("the server has the oldstyle handshake, which the fault proxy lacks")
        socket, control = backend.directory / "p", backend.directory / "pc"
        self._backend = backend
        self._process = Process(
            [sys.executable, "-m", "reference_backend", "proxy", "--to", uri, "--socket",
             str(socket), "--control", str(control), "--seed", str(seed)],
            backend.directory.parent,
            name,
            env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            ready = Ready(socket=str(socket), within=READY_S)
            patience = backend.programs.slowdown
            wait_ready(name, ready, self._process, patience, [accepts(ready)])
            self.qmp: Qmp = connect_within(control, f"control of {name}", READY_S)
        except BaseException:
            self._process.kill()
            raise
        backend.event_lists.append(self.qmp.events)
        blockdev: dict[str, Any] = {
            "driver": "nbd",
            "server": {"type": "unix", "path": str(socket)},
            "export": export,
        }
        backend.front = (
            blockdev,
            f"nbd+unix:///{quote(export, safe='')}?socket={quote(str(socket))}",
        )

    def close(self) -> None:
        """End the proxy; clients reach the backend directly again."""
        self._backend.front = None
        self.qmp.close()
        self._process.stop()


def _is_oldstyle(address: Address) -> bool:
    """Return whether a server with the oldstyle handshake runs; False if no server does."""
    with contextlib.suppress(OSError, EOFError, NbdProtocolError):
        client = Client.open_socket(address, timeout_s=READY_S, client_flags=None)
        client.sock.close()
        return client.is_oldstyle
    return False
