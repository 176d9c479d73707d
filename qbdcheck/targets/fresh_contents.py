"""What a new connection finds, on a server that gives each connection a volume of its own."""

from __future__ import annotations

from qbdcheck.errors import SetupError
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from reference_backend.client import Client


def adopt_fresh(disk: Disk) -> None:
    """Expect on each connection what one that is opened now reads.

    For profiles with ``fresh: undefined``: zeroes that are written before a case would end with
    the connection that writes them.

    :raise SetupError: the server does not let a client read the whole volume.
    """
    try:
        with Client.connect(disk.uri) as client:
            data = client.read(0, disk.size)
    except HANDSHAKE_ERRORS as error:
        raise SetupError(f"cannot read the fresh volume {disk.name}: {error}") from None
    disk.shadow.write(0, data)
    disk.shadow.flush()
