"""Find out whether each connection to a target has a volume of its own.

Such servers are nbdkit with its tmpdisk plugin, and nbd-server with ``copyonwrite``. A client
keeps what it writes as long as it is connected. No other client ever sees it.
"""

from __future__ import annotations

from qbdcheck.targets.disk import Disk
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag

HINT = (
    "each connection reads a fresh volume, and not what others wrote; "
    "if this is intended, write volatile: connection"
)
_SIZE = 1 << 20
_BLOCK = 4096


def claim(session: TargetSession) -> str:
    """Check the claim that each connection has a volume of its own.

    :raise AssertionError: a connection reads what another one wrote, or loses what it wrote.
    """
    disk = session.new_disk(_SIZE, prefill=False, format="raw")
    length = max(_BLOCK, session.minimum_block)
    with session.nbd(disk, contexts=()) as client:
        fresh, data = _written(client, disk, length)
        if bytes(client.read(0, length)) != data:
            raise AssertionError("a connection does not read what it has written itself")
    with session.nbd(disk, contexts=()) as client:
        if bytes(client.read(0, length)) != fresh:
            raise AssertionError("a connection reads what an earlier one has written")
    return "data is there until the connection ends; the next one has a fresh volume"


def has_own(session: TargetSession) -> bool:
    """Return whether connections seem to have volumes of their own. False if none can be made."""
    try:
        claim(session)
    except (AssertionError, *HANDSHAKE_ERRORS):
        return False
    return True


def _written(client: Client, disk: Disk, length: int) -> tuple[bytes, bytes]:
    """Write a stamp at 0 and flush; return the contents before and after, in bytes."""
    fresh = bytes(client.read(0, length))
    data = bytes(disk.shadow.stamped(0, length))
    client.write(0, data)
    if client.flags & TransmissionFlag.SEND_FLUSH:
        client.flush()
    return fresh, data
