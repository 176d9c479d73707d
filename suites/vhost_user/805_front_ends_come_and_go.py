"""This case checks that nothing of one front end is left for the next one.

How: front ends follow one another, with all features and with few, with one queue and with all, of
several sizes, with rings that begin at other indexes. Some stop their queues, and the daemon then
says which request comes next; the requests before it are complete, also if they were in flight.
Some leave in the middle of the handshake, or with reads in flight. Each one must read right data,
and what was written before must be there.
Guards: virtio-features-kept, virtio-base-not-returned, virtio-stop-does-not-wait.
"""

from qbdcheck.kit import case, judge
from qbdcheck.kit.virtio_blk import (
    WANTED,
    Feature,
    FrontEnd,
    VirtioBlk,
    connect,
    polled,
    socket_of,
    wait_used,
)
from qbdcheck.kit.virtio_reads import Reads

FEW = Feature.VERSION_1 | Feature.PROTOCOL_FEATURES | Feature.BLK_SIZE
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
    for number in range(ROUNDS):
        features = random.choice((WANTED, FEW, WANTED & ~Feature.EVENT_IDX))
        with VirtioBlk(
            disk, features=features, queues=random.choice((1, 4)), size=random.choice((8, 64))
        ) as io:
            for queue in range(len(io.requests.queues)):
                offset = random.randrange(disk.size // io.block) * io.block
                io.write(offset, io.block, queue=queue)
                io.read(offset, io.block, queue=queue)
        if number % 3 == 0:
            leave_early(disk, number)
        elif number % 3 == 1:
            stop_at(disk, features, random)
            stop_under_reads(disk, random)
    disk.verify()


def leave_early(disk, number):
    """End a connection within the handshake, or with reads in flight."""
    front_end = connect(disk)
    if number % 2:
        queue = front_end.start_queue(16)
        Reads(queue, disk.size, _First()).fill(together=True)
    front_end.close()
    FrontEnd(socket_of(disk)).close()


class _First:
    """A choice of the first place."""

    def randrange(self, _stop):
        """Return 0."""
        return 0


def stop_at(disk, features, random):
    """Stop a queue after some reads; the daemon must name the index of the next one."""
    start = random.randrange(65536)
    with polled(connect(disk, features=features), 16, start) as queue:
        front_end = queue.front_end
        reads = Reads(queue, disk.size, random)
        what = f"reads on a queue that begins at index {start}"
        heads = [head for _ in range(3) for head in complete(reads, queue, disk, what)]
        base = front_end.stop_queue(0)
        wanted = (start + len(heads)) % 65536
        assert base == wanted, (
            f"GET_VRING_BASE: the daemon says {base} after {len(heads)} requests from index "
            f"{start} on; {wanted} is the next one"
        )


def stop_under_reads(disk, random):
    """Stop a queue with reads in flight: those that the daemon has taken must be complete."""
    start = random.randrange(65536)
    with polled(connect(disk), 256, start) as queue:
        Reads(queue, disk.size, random).fill(together=True)
        base = queue.front_end.stop_queue(0)
        used = queue.ring.indexes()[1]
        assert used == base, (
            f"GET_VRING_BASE: of {(base - start) % 65536} requests that the daemon has taken, "
            f"{(used - start) % 65536} are complete when it says that the queue is stopped"
        )


def complete(reads, queue, disk, what):
    """Fill the queue with reads, and judge all of them; return their heads."""
    heads = reads.fill(together=True)
    wait_used(queue, len(heads), what)
    for head in heads:
        offset, data = reads.take(head, what)
        judge(disk.shadow, offset, data, f"{what}: at {offset}")
    return heads
