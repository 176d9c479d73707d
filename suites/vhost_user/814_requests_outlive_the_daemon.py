"""This case checks that requests in flight are completed once by the next daemon.

How: reads are in flight when the daemon is killed. It starts again, and the front end comes back
with its ring and with the area of requests in flight. What was not used before is completed now,
each once; what was used is not. In half of the rounds the area is as if the daemon had died between
the used ring's index and the flag of its last request; in the others the reads are on the last of
two queues, if the daemon has as many.
Guards: virtio-inflight-forgotten, virtio-last-batch-done-again, virtio-inflight-of-first-queue.
"""

import os

from qbdcheck.kit import NotRun, case, pause
from qbdcheck.kit.virtio_blk import (
    ProtocolFeature,
    SharedMemory,
    connect,
    inflight_region,
    judge,
    kick,
    queue_count,
    wait_lost,
    wait_used,
)
from qbdcheck.kit.virtio_reads import Reads, told

ROUNDS, SIZE, LENGTH = 6, 64, 1 << 20


@case(
    groups="crash concurrent quick",
    requires="vhost_user kill",
    basis="MUST: QEMU, interop/vhost-user",
)
def test(disk, seed):
    random = seed.stream("requests")
    for number in range(ROUNDS):
        memory = SharedMemory(32 << 20)
        front_end = connect(disk, memory=memory)
        if not front_end.protocol & ProtocolFeature.INFLIGHT_SHMFD:
            front_end.close()
            raise NotRun("the daemon does not offer INFLIGHT_SHMFD")
        count = 1 if number % 2 else queue_count(front_end, front_end.config(), 2)
        area, fd = front_end.new_inflight(count, SIZE)
        front_end.set_inflight(area, fd)
        queue = [front_end.start_queue(SIZE) for _ in range(count)][-1]
        ring, reads = queue.ring, Reads(queue, disk.size, random, LENGTH)
        heads = reads.fill(together=True)
        judge_all(reads, disk, wait_used(queue, len(heads), f"{len(heads)} reads"))
        heads = reads.fill(together=True)
        pause(random.choice((0, 0.0002, 0.001)))
        disk.backend.kill()
        wait_lost(front_end)
        before = [one.head for one in ring.pop()]
        last = reads.name(before[-1]) if before else ""
        judge_all(reads, disk, before)
        front_end.close()
        if number % 2:
            die_before_the_flag(area, fd, ring)
        disk.backend.start()
        again = connect(disk, memory=memory)
        again.set_inflight(area, fd)
        for _ in range(count - 1):
            again.start_queue(SIZE)
        rest = sorted(set(heads) - set(before))
        what = f"{len(rest)} of {len(heads)} reads were in flight when the daemon was killed"
        what += f", on queue {count - 1}"
        done = f"{last} was used before the kill, and must not be done again; " if last else ""
        with told(disk, f"{done}{what}"):
            queue = again.start_ring(ring, ring.indexes()[1])
        kick(queue)
        used = wait_used(queue, len(rest), what)
        assert sorted(used) == rest, f"{what}, with descriptors {rest}; {used} were used after"
        judge_all(reads, disk, used)
        base = again.stop_queue(count - 1)
        assert not ring.pop(), f"{what}; more were used than these"
        assert base == ring.indexes()[0], f"{what}; the daemon has taken requests up to {base}"
        again.close()
        os.close(fd)
        memory.close()
    disk.verify()


def die_before_the_flag(area, fd, ring):
    """Change the area to what a daemon leaves that dies between the index and the flag."""
    region = inflight_region(area, fd, SIZE)
    if region.is_settled(ring.indexes()[1]):
        region.pretend_unfinished()


def judge_all(reads, disk, heads):
    """Judge reads that were used."""
    for head in heads:
        offset, data = reads.take(head, "a read around the end of a daemon")
        judge(disk.shadow, offset, data, f"a read at {offset} around the end of a daemon")
