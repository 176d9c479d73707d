"""This case checks that requests are right however the memory of a guest is divided.

How: one file as one region, as two and as many, with addresses and offsets that differ. The queue,
headers and data lie in different regions, and data lies across the border of two, as pages of two
memory nodes may. Then the queue stops, the table of memory changes, and the queue continues. At the
end another file is at the addresses of the first one: what a daemon remembers of that is stale.
Guards: virtio-second-region-lost, virtio-old-memory-kept.
"""

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import (
    Kind,
    Ring,
    SharedMemory,
    connect,
    judge,
    longest_segment,
    send_one,
)

SIZE = 4 << 20
LENGTH = 8192
TABLES = ((1,), (2,), (8,), (1, 2), (8, 2, 1))
"""Into how many regions the memory is divided, at first and after each stop of the queue."""


@case(
    groups="rw quick",
    requires="vhost_user",
    basis=("MUST: QEMU, interop/vhost-user", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, seed):
    random = seed.stream("regions")
    for table in TABLES:
        memory = SharedMemory(SIZE)
        front_end = connect(disk, memory=memory)
        front_end.send_regions(memory, table[0])
        length = min(LENGTH, longest_segment(front_end))
        queue = front_end.start_queue(32)
        for number, count in enumerate(table):
            if number:
                base = stop(queue)
                front_end.send_regions(memory, count)
                queue = front_end.start_ring(queue.ring, base, index=0)
            border = SIZE // count if count > 1 else SIZE // 2
            for _ in range(4):
                offset = random.randrange(disk.size // length) * length
                for at in (border - length // 2, border, SIZE - length):
                    move(disk, queue, (offset, length), at, f"with {count} regions of memory")
        base = stop(queue)
        other = SharedMemory(SIZE)
        front_end.send_regions(other, table[-1])
        ring = Ring(other, 32, event_idx=queue.ring.event_idx, start=base)
        queue = front_end.start_ring(ring, base, index=0)
        for at in (SIZE // 2, SIZE - length):
            move(disk, queue, (0, length), at, "after another file became the memory")
        front_end.close()
        memory.close()
        other.close()
    disk.verify()


def stop(queue):
    """Stop a queue without requests; return the index of the next one."""
    base, wanted = queue.front_end.stop_queue(0), queue.ring.indexes()[0]
    assert base == wanted, (
        f"GET_VRING_BASE: the daemon says {base}, and {wanted} is the index of the next request"
    )
    return base


def move(disk, queue, place, at, how):
    """Write and read a place with a buffer somewhere in the memory, and judge both."""
    offset, length = place
    memory = queue.ring.memory
    data = disk.shadow.stamped(offset, length)
    memory.map[at : at + length] = data
    what = f"a write of {length} bytes at {offset}, {how}, from byte {at} of the memory"
    disk.shadow.maybe_write(offset, data)
    send_one(queue, Kind.WRITE, offset, at, length, what)
    disk.shadow.write(offset, data)
    memory.map[at : at + length] = bytes(length)
    what = what.replace("a write", "a read").replace("from byte", "to byte")
    send_one(queue, Kind.READ, offset, at, length, what)
    judge(disk.shadow, offset, memory.map[at : at + length], what)
