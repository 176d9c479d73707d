"""This case checks that a guest that breaks the rules of the ring harms nobody but itself.

How: chains without a header, without room for a status, with a loop, with an index outside of the
table, with addresses outside of the memory, with lengths that wrap; indirect tables of odd length,
and within tables; an available index that leaps. The guest writes rings, so the daemon must expect
all of this. It may end the connection, stop the queue, or use the chain. It must then serve a new
front end, and the disk is unchanged.
Guards: virtio-chain-loop-unchecked, virtio-address-unchecked.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.virtio_blk import (
    DESCRIPTOR,
    HEADER,
    Kind,
    connect,
    kick,
    named,
    polled,
    serves,
)

NEXT, WRITE, INDIRECT = 1, 2, 4
BASE = 0x1_0000_0000
"""Guest address of the shared memory."""
FAR = 0x7FFF_0000_0000
"""A guest address outside of it."""
HEAD = (BASE, 16, NEXT, 1)
CHAINS = {
    "no header": [(BASE + 4096, 4096, WRITE, 0)],
    "a short header": [(BASE, 8, NEXT, 1), (BASE + 32, 1, WRITE, 0)],
    "no status": [HEAD, (BASE + 4096, 4096, 0, 0)],
    "a status of no length": [HEAD, (BASE + 32, 0, WRITE, 0)],
    "a loop": [HEAD, (BASE + 4096, 512, NEXT, 1)],
    "a next descriptor outside of the table": [(BASE, 16, NEXT, 60000)],
    "data outside of the memory": [HEAD, (FAR, 4096, NEXT, 2), (BASE + 32, 1, WRITE, 0)],
    "a header outside of the memory": [(FAR, 16, NEXT, 1), (BASE + 32, 1, WRITE, 0)],
    "a status outside of the memory": [HEAD, (FAR, 1, WRITE, 0)],
    "a length that wraps": [HEAD, (BASE + 4096, 0xFFFFFFFF, NEXT, 2), (BASE + 32, 1, WRITE, 0)],
    "an indirect table of 17 bytes": [(BASE + 8192, 17, INDIRECT, 0)],
    "an indirect table outside of the memory": [(FAR, 64, INDIRECT, 0)],
    "an indirect table of no length": [(BASE + 8192, 0, INDIRECT, 0)],
    "an indirect table within a table": [(BASE + 8192, 16, INDIRECT, 0)],
}


@case(
    groups="errors hostile quick",
    requires="vhost_user",
    basis=("POLICY: clients-do-not-disturb-each-other", "POLICY: refused-request-changes-nothing"),
)
def test(disk):
    for name, descriptors in CHAINS.items():
        chain = f"a chain with {name}"
        with named(chain):
            send(disk, descriptors)
            assert serves(disk), f"after {chain}, a new front end is not served"
    with named("an available index that leaps"):
        leap(disk)
        assert serves(disk), "after an available index that leaps, a new front end is not served"
    disk.verify()


def send(disk, descriptors):
    """Write descriptors into a ring, and make the first one available."""
    with polled(connect(disk), 16) as queue:
        memory, ring = queue.ring.memory.map, queue.ring
        first = ring.memory.take(16384)
        HEADER.pack_into(memory, first, Kind.WRITE, 0, 0)
        DESCRIPTOR.pack_into(memory, first + 8192, BASE + first + 8192, 16, INDIRECT, 0)
        for number, (address, length, flags, following) in enumerate(descriptors):
            here = address if address == FAR else address + first
            DESCRIPTOR.pack_into(memory, ring.offset + 16 * number, here, length, flags, following)
        ring.publish(0)
        kick(queue)
        pause(0.05)


def leap(disk):
    """Say that more requests are available than the ring has room for."""
    with polled(connect(disk), 16) as queue:
        queue.ring.publish(0, 40000)
        kick(queue)
        pause(0.05)
