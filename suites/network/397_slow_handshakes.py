"""This case checks that two thousand clients that do not get on hold up no other, and cost little.

How: sockets that say nothing, that send a byte of their handshake, and that stop after it; a fresh
client is served meanwhile. Memory stays within 64 KiB each; when they are gone their threads and
descriptors are, too.
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


@case(groups="protocol hostile concurrent slow", requires="nbd")
def test(disk):
    assert is_serving(disk)
    before = footprint(disk.backend)
    with contextlib.ExitStack() as clients:
        for number in range(SLOW):
            client = clients.enter_context(negotiating(disk, client_flags=None))
            client.send((m.CLIENT_FLAGS.pack(3) + m.option(Option.LIST))[: number % 19])
            if number % 475 == 0:
                assert is_serving(disk), f"a fresh client is not served beside {number} slow ones"
        for _number in range(FINISHED):
            enter_transmission(clients.enter_context(negotiating(disk)), disk)
        assert is_serving(disk), "a fresh client is not served beside all slow ones"
        during = footprint(disk.backend)
        grown = during.memory - before.memory
        assert grown < (SLOW + FINISHED) * MEMORY_EACH, f"before {before}, now {during}"
    after = settles(disk.backend, before, SPARE)
    assert after.threads <= before.threads + SPARE, f"before {before}, afterwards {after}"
    assert after.descriptors <= before.descriptors + SPARE, f"before {before}, afterwards {after}"
    assert is_serving(disk)
    disk.verify()
