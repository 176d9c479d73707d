"""This case checks that each of many requests in flight gets one reply, with its own data.

How: 300 reads and writes of many lengths on one connection, 32 in flight, none of which overlap.
Replies may come in any order. After the last one nothing more comes.
Related: shared-cursor-race, payload-not-drained.
"""

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import connected

DEPTH = 32
"""Requests in flight: more than a server handles at once, and less than a socket buffers."""


@case(groups="protocol concurrent", requires="nbd", basis="MUST: NBD, Transmission")
def test(disk, seed):
    random = seed.stream("requests")
    with connected(disk) as io:
        unit = max(512, io.block_sizes[0])
        lengths = (1, 8, 24) if unit <= 4096 else (1, 2)  # more than DEPTH of them have room
        slot = lengths[-1] * unit
        for index in range(300):
            length = min(random.choice(lengths) * unit, io.block_sizes[2])
            command = random.choice((Command.READ, Command.WRITE, Command.WRITE))
            io.send(command, index % (disk.size // slot) * slot, length)
            if io.in_flight > DEPTH:
                io.finish()
        io.finish_all()
        sock = io.client.sock
        sock.settimeout(0.02)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    disk.verify()
