"""Servers that serve one client at a time, such as qemu-nbd if it is not told ``--shared=0``.

The next client waits, without an answer, until the one before has left. Each wait would look like a
hang of the server. So a case does not open a second client: it is not run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qbdcheck.clock import pause
from qbdcheck.errors import NotRun
from qbdcheck.machine_speed import Limit, elapsed_limit_s
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from reference_backend.client import Client, parse_uri
from reference_backend.listener import Address

HINT = (
    "a second client gets no answer while another is connected; cases with several clients are not "
    "run (qemu-nbd serves several with --shared=0)"
)
LEAVE_S = 2.0
"""Seconds after which a server must know that a client has left."""
ANSWER_S = 1.0
"""Seconds in which a client gets an answer, at the second try at least."""
_STEP_S = 0.005
_CONNECTED = frozenset(("01", "08"))
"""States of a TCP socket that the server has not closed (tcp_states.h)."""


def serves_several(disk: Disk) -> bool:
    """Return whether a second NBD client is served while another one is connected.

    A server that is slow, and not idle, gets the same time again.
    """
    with _all_at_once(), Client.connect(disk.uri):
        for _ in range(2):
            with contextlib.suppress(*HANDSHAKE_ERRORS):
                Client.connect(disk.uri, timeout_s=elapsed_limit_s(ANSWER_S)).close()
                return True
    return False


@contextlib.contextmanager
def _all_at_once() -> Iterator[None]:
    """Let clients of this process connect without waiting for others."""
    before, Client.before = Client.before, None
    try:
        yield
    finally:
        Client.before = before


class Turns:
    """Lets clients of some servers in one at a time.

    :param uris: returns the NBD URIs of the servers.
    """

    def __init__(self, uris: Callable[[], Sequence[str]]) -> None:
        self._uris = uris

    def before_address(self, address: Address) -> None:
        """Wait until the server at an address has no client.

        :raise NotRun: it keeps the one it has.
        """
        if any(parse_uri(uri)[0] == address for uri in self._uris()):
            _wait_until_free(address)

    def before_program(self, arguments: str) -> None:
        """Wait until the servers that a program will reach have no clients.

        :param arguments: of the program or of a QMP command, as one text.
        :raise NotRun: one keeps the one it has.
        """
        for uri in self._uris():
            address = parse_uri(uri)[0]
            place = str(address[1]) if isinstance(address, tuple) else str(address)
            if place in arguments:
                _wait_until_free(address)


def _wait_until_free(address: Address) -> None:
    limit = Limit(LEAVE_S)
    while clients_of(address):
        if limit.is_over:
            raise NotRun("the target serves one client at a time")
        pause(_STEP_S)


def clients_of(address: Address) -> int:
    """Return how many clients are connected to an address of this machine, or wait there."""
    if isinstance(address, tuple):
        port = f":{address[1]:04X}"
        lines = [line.split() for line in _lines("tcp") + _lines("tcp6")]
        return sum(one[1].endswith(port) and one[3] in _CONNECTED for one in lines)
    sockets = [line.split(maxsplit=7) for line in _lines("unix")]
    # Flags 00010000: the socket that listens. Each client has one with the same path at the server.
    return sum(one[7:] == [address] and one[3] != "00010000" for one in sockets)


def _lines(kind: str) -> list[str]:
    """Return the sockets of a kind, one per line; none if the kernel has no such kind."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/net/{kind}").read_text(errors="replace").splitlines()[1:]
    return []
