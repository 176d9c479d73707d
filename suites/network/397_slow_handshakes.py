"""This case checks that two thousand stalled clients neither block others nor cost much memory.

How: sockets that send nothing, that send a part of their handshake, and that stop after it. A new
client is served meanwhile. Memory grows by at most 64 KiB each. Their threads and descriptors are
gone when they are gone.
Guards: handshake-slowloris, connection-slot-leak.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.footprint import footprint, settles
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import enter_transmission, is_serving, negotiating

SLOW, FINISHED, SPARE = 1900, 100, 16
MEMORY_EACH = 64 << 10


@case(
    groups="protocol hostile concurrent slow",
    requires="nbd",
    basis="POLICY: clients-do-not-disturb-each-other",
)
def test(disk):
    assert is_serving(disk), "a new client is not served at the start"
    before = footprint(disk.backend)
    with contextlib.ExitStack() as clients:
        for number in range(SLOW):
            client = clients.enter_context(negotiating(disk, client_flags=None))
            client.send((m.CLIENT_FLAGS.pack(3) + m.option(Option.LIST))[: number % 19])
            if number % 475 == 0:
                assert is_serving(disk), f"a new client is not served while {number} others stall"
        for _number in range(FINISHED):
            enter_transmission(clients.enter_context(negotiating(disk)), disk)
        assert is_serving(disk), "a new client is not served while all others stall"
        during = footprint(disk.backend)
        grown = during.memory - before.memory
        assert grown < (SLOW + FINISHED) * MEMORY_EACH, (
            f"too much memory: {before} before, {during} now"
        )
    after = settles(disk.backend, before, SPARE)
    assert after.threads <= before.threads + SPARE, f"threads: {before} before, {after} after"
    assert after.descriptors <= before.descriptors + SPARE, (
        f"descriptors: {before} before, {after} after"
    )
    assert is_serving(disk), "a new client is not served after the stalled ones"
    disk.verify()
