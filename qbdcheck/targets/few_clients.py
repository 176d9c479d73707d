"""Servers that serve few clients at a time, such as qemu-nbd, which serves one by default.

The next client waits, without an answer, until one before it has left, or is refused. That would
look like a hang or a crash of the server. So a case does not open more clients: it is not run.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qbdcheck.clock import pause
from qbdcheck.errors import NotRun
from qbdcheck.machine_speed import Limit, elapsed_limit_s
from qbdcheck.targets.description import Description
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from reference_backend.client import Client, parse_uri
from reference_backend.listener import Address

MANY = 64
"""Clients at a time that are tried, more than most cases open. More are not limited."""
_OPTIONS = {"qemu-nbd": "--shared=0"}
"""Options by which servers serve any number of clients, by the name of their program."""
LEAVE_S = 1.0
"""Seconds after which a server must know that a client has left."""
TRIAL_S = 3.0
"""Seconds that the trial may take, if the server is slow to accept clients."""
ANSWER_S = 1.0
"""Seconds in which a client gets an answer, at the second try at least."""
_STEP_S = 0.005
_SETTLE_S = 0.05
"""Seconds after which a server that has closed a connection does not count it any more."""
_known: dict[str, int] = {}
_CONNECTED = frozenset(("01", "08"))
"""States of a TCP socket that the server has not closed (tcp_states.h)."""


def clients_served(disk: Disk) -> int:
    """Return how many NBD clients are served at a time, from 1 to `MANY`.

    A server that is slow, and not full, gets the same time again.

    :raise OSError, EOFError, ...: it serves none.
    """
    with contextlib.ExitStack() as clients, _all_at_once():
        count = _fill(disk, clients)
    if count < MANY:
        Turns(lambda: [disk.uri], 1).before_address(parse_uri(disk.uri)[0])
    return count


def _fill(disk: Disk, clients: contextlib.ExitStack) -> int:
    """Connect as many clients as the server serves, up to `MANY`; return how many."""
    clients.enter_context(Client.connect(disk.uri))
    limit = Limit(TRIAL_S)
    for count in range(1, MANY):
        if not any(_comes_in(disk, clients) for _ in range(2)):
            return count
        if limit.is_over and count > 1:
            return MANY
    return MANY


def _comes_in(disk: Disk, clients: contextlib.ExitStack) -> bool:
    """Connect one more client, and return whether it is served."""
    with contextlib.suppress(*HANDSHAKE_ERRORS):
        clients.enter_context(Client.connect(disk.uri, timeout_s=elapsed_limit_s(ANSWER_S)))
        return True
    return False


def remember_clients(description: Description, most: int) -> None:
    """Keep how many clients a server of the target serves at a time."""
    _known[description.model_dump_json()] = most


def hint(description: Description, most: int) -> str:
    """Return what few clients mean for a run, and the option against it if the server is known."""
    told = f"the server serves {in_words(most)} at a time; cases with more clients are not run"
    command = shlex.split(description.start or "")
    program = Path(command[0]).name if command else ""
    option = _OPTIONS.get(program)
    return f"{told} (the option of {program} is {option})" if option else told


def most_clients(description: Description) -> int:
    """Return how many clients a server of the target serves at a time; `MANY` if it is unknown."""
    return _known.get(description.model_dump_json(), MANY)


@contextlib.contextmanager
def _all_at_once() -> Iterator[None]:
    """Let clients of this process connect without waiting for others."""
    before, Client.before = Client.before, None
    try:
        yield
    finally:
        Client.before = before


class Turns:
    """Lets few clients of some servers in at a time.

    :param uris: returns the NBD URIs of the servers.
    :param most: how many clients each of them serves at a time.
    """

    def __init__(self, uris: Callable[[], Sequence[str]], most: int) -> None:
        self._uris = uris
        self._most = most

    def before_address(self, address: Address) -> None:
        """Wait until the server at an address serves one more client.

        :raise NotRun: it keeps those that it has.
        """
        if any(parse_uri(uri)[0] == address for uri in self._uris()):
            self._wait(address)

    def before_program(self, arguments: str) -> None:
        """Wait until the servers that a program will reach serve one more client.

        :param arguments: of the program or of a QMP command, as one text.
        :raise NotRun: one keeps those that it has.
        """
        for uri in self._uris():
            address = parse_uri(uri)[0]
            place = str(address[1]) if isinstance(address, tuple) else str(address)
            if place in arguments:
                self._wait(address)

    def _wait(self, address: Address) -> None:
        limit, waits = Limit(LEAVE_S), False
        while clients_of(address) >= self._most:
            if limit.is_over:
                raise NotRun(f"the target serves {in_words(self._most)} at a time")
            pause(_STEP_S)
            waits = True
        if waits:
            pause(_SETTLE_S)


def in_words(most: int) -> str:
    """Return a number of clients in words."""
    return "one client" if most == 1 else f"{most} clients"


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
