"""This case checks that nothing of one front end is left for the next one.

How: front ends follow one another, with all features and with few, with one queue and with all, of
several sizes. Some leave in the middle of the handshake, or with reads in flight. Each one must
read right data, and what was written before must be there.
Guards: virtio-features-kept.
"""

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import (
    WANTED,
    Feature,
    FrontEnd,
    VirtioBlk,
    connect,
    socket_of,
)
from qbdcheck.kit.virtio_reads import Reads

FEW = Feature.VERSION_1 | Feature.PROTOCOL_FEATURES | Feature.BLK_SIZE
NAMES = {WANTED: "all features", FEW: "few features", WANTED & ~Feature.EVENT_IDX: "no EVENT_IDX"}
ROUNDS = 10


@case(
    groups="rw quick",
    requires="vhost_user",
    basis=(
        "MUST: QEMU, interop/vhost-user",
        "POLICY: clients-do-not-disturb-each-other",
    ),
)
def test(disk, seed):
    random = seed.stream("front ends")
    features = WANTED
    for number in range(ROUNDS):
        before, features = features, random.choice(list(NAMES))
        with VirtioBlk(
            disk, features=features, queues=random.choice((1, 4)), size=random.choice((8, 64))
        ) as io:
            io.context = f", with {NAMES[features]} after a front end with {NAMES[before]}"
            for queue in range(len(io.requests.queues)):
                offset = random.randrange(disk.size // io.block) * io.block
                io.write(offset, io.block, queue=queue)
                io.read(offset, io.block, queue=queue)
        if number % 3 == 0:
            leave_early(disk, number, random)
    disk.verify()


def leave_early(disk, number, random):
    """End a connection within the handshake, or with reads in flight."""
    front_end = connect(disk)
    if number % 2:
        queue = front_end.start_queue(16)
        Reads(queue, disk.size, random).fill(together=True)
    front_end.close()
    FrontEnd(socket_of(disk)).close()
