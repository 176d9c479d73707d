"""This case checks that a guest that breaks the rules of the ring harms nobody but itself.

How: chains without a header, without room for a status, with a loop, with an index outside of the
table, with addresses outside of the memory, with lengths that wrap; indirect tables of odd length,
and within tables; an available index that leaps. The guest writes rings, so the daemon must expect
all of this. It may end the connection, stop the queue, or use the chain. It must then serve a new
front end, and the disk is unchanged. A queue that continues with a request behind the chain has
used the chain too: else its descriptors are lost.
Guards: virtio-chain-loop-unchecked, virtio-address-unchecked, virtio-broken-chain-kept.
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
from qbdcheck.kit.virtio_reads import read_behind

NEXT, WRITE, INDIRECT = 1, 2, 4
BASE = 0x1_0000_0000
"""Guest address of the shared memory."""
FAR = 0x7FFF_0000_0000
"""A guest address outside of it."""
HEAD = (BASE, 16, NEXT, 1)
GOOD = 12
"""The first descriptor of the request behind a chain."""
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
    basis=(
        "POLICY: clients-do-not-disturb-each-other",
        "POLICY: refused-request-changes-nothing",
        "POLICY: taken-chains-are-given-back",
    ),
)
def test(disk, policy):
    for name, descriptors in CHAINS.items():
        chain = f"a chain with {name}"
        with named(chain):
            heads = send(disk, descriptors)
            with policy("taken-chains-are-given-back"):
                assert GOOD not in heads or 0 in heads, (
                    f"{chain} was not used, and the request behind it on the same queue was"
                )
            assert serves(disk), f"after {chain}, a new front end is not served"
    with named("an available index that leaps"):
        leap(disk)
        assert serves(disk), "after an available index that leaps, a new front end is not served"
    disk.verify()


def send(disk, descriptors):
    """Send a chain of these descriptors, and a right request behind it; return what was used."""
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
        return read_behind(queue, GOOD)


def leap(disk):
    """Say that more requests are available than the ring has room for."""
    with polled(connect(disk), 16) as queue:
        queue.ring.publish(0, 40000)
        kick(queue)
        pause(0.05)
