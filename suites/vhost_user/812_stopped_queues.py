"""This case checks that a stopped queue says where it stopped, and has completed all before that.

How: queues that begin at any index are stopped after reads, and with reads in flight. The index
that the daemon answers is that of the next request; all before it are complete. A front end that
moves a guest to another host relies on this.
Guards: virtio-base-not-returned, virtio-stop-does-not-wait.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.virtio_blk import WANTED, Feature, connect, judge, polled, wait_used
from qbdcheck.kit.virtio_reads import Reads

ROUNDS = 40


@case(
    groups="rw concurrent quick",
    requires="vhost_user",
    basis="MUST: QEMU, interop/vhost-user",
)
def test(disk, seed):
    random = seed.stream("queues")
    for number in range(ROUNDS):
        stop_at(disk, WANTED if number % 2 else WANTED & ~Feature.EVENT_IDX, random)
        stop_under_reads(disk, random)
    disk.verify()


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
        pause(random.choice((0, 0.0001, 0.0003, 0.001)))
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
