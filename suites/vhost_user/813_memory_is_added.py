"""This case checks that memory that is added while a queue runs is used at the right place.

How: a part of another file becomes memory of the guest, from byte 0 and from byte 65536 of the file
on. A write and a read use it, and it is removed again.
Guards: virtio-region-offset-ignored.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.virtio_blk import (
    GUEST_BASE,
    WANTED_PROTOCOL,
    Kind,
    ProtocolFeature,
    SharedMemory,
    connect,
    judge,
    longest_segment,
    send_one,
)

LENGTH = 8192
FAR = GUEST_BASE + (1 << 36)
"""A guest address at which memory is added."""


@case(
    groups="rw quick",
    requires="vhost_user",
    basis=("MUST: QEMU, interop/vhost-user", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk):
    slots = ProtocolFeature.CONFIGURE_MEM_SLOTS
    front_end = connect(disk, protocol=WANTED_PROTOCOL | slots)
    queue = front_end.start_queue(32)
    if not front_end.protocol & slots:
        front_end.close()
        raise NotRun("the daemon does not offer CONFIGURE_MEM_SLOTS")
    length = min(LENGTH, longest_segment(front_end))
    extra = SharedMemory(1 << 20)
    for skip in (0, 65536):
        front_end.add_region(extra, FAR, skip)
        data = disk.shadow.stamped(0, length)
        extra.map[skip : skip + length] = data
        what = f"a write of {length} bytes from memory that was added, byte {skip} of a file"
        disk.shadow.maybe_write(0, data)
        send_one(queue, Kind.WRITE, 0, FAR - GUEST_BASE, length, what)
        disk.shadow.write(0, data)
        extra.map[skip : skip + length] = bytes(length)
        what = what.replace("write", "read").replace("bytes from", "bytes to")
        send_one(queue, Kind.READ, 0, FAR - GUEST_BASE, length, what)
        judge(disk.shadow, 0, extra.map[skip : skip + length], what)
        front_end.remove_region(extra, FAR, skip)
    extra.close()
    front_end.close()
    disk.verify()
