"""One kill cycle of a backend: load, SIGKILL under load, a restart, a check of all data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

from blockio.layers import Command
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.targets.disk import Disk

_CONNECTIONS = 2
_BATCH = 24
_LENGTHS = (512, 4096, 9000, 30_000)


def kill_cycle(disk: Disk, connect: Callable[[Disk], NbdIo], random: Random) -> None:
    """Write on several connections, flush now and then, kill, restart, verify.

    :param connect: the fixture ``nbd_io``.
    :raise WrongData: flushed data is missing, or a sector is neither old nor new.
    """
    clients = [connect(disk) for _ in range(_CONNECTIONS)]
    unit = clients[0].block_sizes[0]
    for batch in range(random.randrange(1, 4)):
        in_flight: list[tuple[NbdIo, int]] = []
        taken: list[tuple[int, int]] = []
        for number in range(_BATCH):
            client = clients[number % _CONNECTIONS]
            length = -(-random.choice(_LENGTHS) // unit) * unit
            offset = random.randrange(0, disk.size - length) // unit * unit
            if any(start < offset + length and offset < end for start, end in taken):
                continue  # overlapping requests in flight are tested by other cases
            taken.append((offset & -512, (offset + length + 511) & -512))
            in_flight.append((client, client.send(Command.WRITE, offset, length)))
        answered = len(in_flight) if batch == 0 else random.randrange(len(in_flight) + 1)
        for client, cookie in in_flight[:answered]:
            client.finish(cookie)
        if answered < len(in_flight):
            break
        if random.random() < 0.7:
            clients[0].flush()
    disk.backend.kill()
    for client in clients:
        with contextlib.suppress(OSError):
            client.client.sock.close()
    disk.backend.start()
    disk.verify()
