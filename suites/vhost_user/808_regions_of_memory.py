"""This case checks that requests are right however the memory of a guest is divided.

How: one file as one region, as two and as many, with addresses and offsets that differ. The queue,
headers and data lie in different regions, and data lies across the border of two, as pages of two
memory nodes may. Then the queue stops, the table of memory changes, and the queue continues. Where
the daemon supports it, a part of another file is added and removed while the queue runs.
Guards: virtio-second-region-lost, virtio-region-offset-ignored.
"""

from qbdcheck.kit import case, judge
from qbdcheck.kit.virtio_blk import (
    GUEST_BASE,
    HEADER,
    WANTED_PROTOCOL,
    Kind,
    ProtocolFeature,
    Segment,
    SharedMemory,
    Status,
    connect,
    kick,
    name_of,
    wait_used,
)

SIZE = 4 << 20
LENGTH = 8192
FAR = GUEST_BASE + (1 << 36)
"""A guest address at which memory is added."""
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
        queue = front_end.start_queue(32)
        for number, count in enumerate(table):
            if number:
                base = front_end.stop_queue(0)
                front_end.send_regions(memory, count)
                queue = front_end.start_ring(queue.ring, base, index=0)
            border = SIZE // count if count > 1 else SIZE // 2
            for _ in range(4):
                offset = random.randrange(disk.size // LENGTH) * LENGTH
                for at in (border - LENGTH // 2, border, SIZE - LENGTH):
                    move(disk, queue, offset, at, f"with {count} regions of memory")
        front_end.close()
        memory.close()
    add_and_remove(disk)
    disk.verify()


def add_and_remove(disk):
    """Add a part of another file as memory while a queue runs, use it, and remove it."""
    slots = ProtocolFeature.CONFIGURE_MEM_SLOTS
    front_end = connect(disk, protocol=WANTED_PROTOCOL | slots)
    queue = front_end.start_queue(32)
    if front_end.protocol & slots:
        extra = SharedMemory(1 << 20)
        for skip in (0, 65536):
            front_end.add_region(extra, FAR, skip)
            data = disk.shadow.stamped(0, LENGTH)
            extra.map[skip : skip + LENGTH] = data
            what = f"a write of {LENGTH} bytes from memory that was added, byte {skip} of a file"
            disk.shadow.maybe_write(0, data)
            send(queue, Kind.WRITE, 0, FAR - GUEST_BASE, what)
            disk.shadow.write(0, data)
            extra.map[skip : skip + LENGTH] = bytes(LENGTH)
            what = what.replace("write", "read").replace("bytes from", "bytes to")
            send(queue, Kind.READ, 0, FAR - GUEST_BASE, what)
            judge(disk.shadow, 0, extra.map[skip : skip + LENGTH], what)
            front_end.remove_region(extra, FAR, skip)
        extra.close()
    front_end.close()


def move(disk, queue, offset, at, how):
    """Write and read with a buffer at a place of the memory, and judge both."""
    memory = queue.ring.memory
    data = disk.shadow.stamped(offset, LENGTH)
    memory.map[at : at + LENGTH] = data
    what = f"a write of {LENGTH} bytes at {offset}, {how}, from byte {at} of the memory"
    disk.shadow.maybe_write(offset, data)
    send(queue, Kind.WRITE, offset, at, what)
    disk.shadow.write(offset, data)
    memory.map[at : at + LENGTH] = bytes(LENGTH)
    what = what.replace("a write", "a read").replace("from byte", "to byte")
    send(queue, Kind.READ, offset, at, what)
    judge(disk.shadow, offset, memory.map[at : at + LENGTH], what)


def send(queue, kind, offset, at, what):
    """Send one request and wait for it."""
    memory = queue.ring.memory
    head = memory.take(64)
    HEADER.pack_into(memory.map, head, kind, 0, offset // 512)
    memory.map[head + 32] = Status.UNWRITTEN
    data = Segment(at, LENGTH, to_driver=kind == Kind.READ)
    first = Segment(head, HEADER.size, to_driver=False)
    last = Segment(head + 32, 1, to_driver=True)
    queue.ring.add([first, data, last])
    if queue.ring.must_notify(1):
        kick(queue)
    wait_used(queue, 1, what)
    status = memory.map[head + 32]
    memory.give_back(head, 64)
    assert status == Status.OK, f"{what}: the daemon answers {name_of(status)}"
