"""One kill cycle of a backend: load, SIGKILL under load, a restart, a check of all data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

from blockio.layers import Command
from qbdcheck.targets.disk import Disk
from reference_backend.client import Client

_CONNECTIONS = 2
_BATCH = 24
_LENGTHS = (512, 4096, 9000, 30_000)


def kill_cycle(disk: Disk, connect: Callable[[Disk], Client], random: Random) -> None:
    """Write on several connections, flush now and then, kill, restart, verify.

    :param connect: the fixture ``nbd``.
    :raise WrongData: flushed data is missing, or a sector is neither old nor new.
    """
    shadow = disk.shadow
    clients = [connect(disk) for _ in range(_CONNECTIONS)]
    for batch in range(random.randrange(1, 4)):
        in_flight = []
        taken: list[tuple[int, int]] = []
        for number in range(_BATCH):
            client = clients[number % _CONNECTIONS]
            length = random.choice(_LENGTHS)
            offset = random.randrange(0, disk.size - length)
            if any(start < offset + length and offset < end for start, end in taken):
                continue  # overlapping requests in flight are tested by other cases
            taken.append((offset & -512, (offset + length + 511) & -512))
            data = shadow.stamped(offset, length)
            cookie = client.send_request(Command.WRITE, offset, length, payload=data)
            in_flight.append((client, cookie, offset, data))
        answered = len(in_flight) if batch == 0 else random.randrange(len(in_flight) + 1)
        for client, cookie, offset, data in in_flight[:answered]:
            assert not client.receive_reply(cookie).error
            shadow.write(offset, data)
        for *_, offset, data in in_flight[answered:]:
            shadow.maybe_write(offset, data)
        if answered < len(in_flight):
            break
        if random.random() < 0.7:
            clients[0].flush()
            shadow.flush()
    disk.backend.kill()
    for client in clients:
        with contextlib.suppress(OSError):
            client.sock.close()
    disk.backend.start()
    disk.verify()
