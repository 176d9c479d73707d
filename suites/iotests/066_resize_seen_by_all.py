"""This case checks that every new client sees a new size, however it asks for it.

How: after each of four resizes, the size is taken from the handshake, from qemu-img info, and from
qemu-io, which must reach the last block and nothing behind it.
Guards: resize-not-notified, resize-false-success, size-change-across-reconnect.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.expectations import expect_failure, expect_size
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit


@case(groups="size img quick", requires="resize", basis="POLICY: new-size-is-seen")
def test(new_disk, qemu_io, qemu_img, nbd, target):
    unit = size_unit(target)
    disk = new_disk(2 * max(1 << 20, unit))
    for wanted in (3 << 20, (2 << 20) + 512, 8 << 20, 1 << 20):
        size = widened(0, wanted, unit)[1]
        disk.resize(size)
        expect_size(qemu_img, disk.filename, size)
        if "nbd" in target.capabilities:
            with nbd(disk) as client:
                seen = f"resized to {size} bytes: the export has {client.size} bytes"
                assert client.size == size, seen
        io = qemu_io(disk)
        io.write(size - 512, 512)
        with expect_failure(ProgramError, f"write of 512 bytes at {size}, behind the end"):
            io.request(f"write -P 1 {size} 512")
        io.abandon()
    disk.verify()
