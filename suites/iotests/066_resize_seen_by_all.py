"""This case checks that a new size is seen by every new client, whichever way it asks.

How: after each of four resizes: on the wire, by qemu-img info, and by qemu-io, which must reach the
last block and nothing behind it.
Guards: resize-not-notified, resize-false-success, size-change-across-reconnect.
"""

import pytest

from qbdcheck.kit import ProgramError, case


@case(groups="size img quick", requires="resize")
def test(new_disk, qemu_io, qemu_img, nbd, target):
    disk = new_disk("2M")
    for size in (3 << 20, (2 << 20) + 512, 8 << 20, 1 << 20):
        disk.resize(size)
        assert qemu_img.json("info", disk.filename)["virtual-size"] == size
        if "nbd" in target.capabilities:
            with nbd(disk) as client:
                assert client.size == size, f"resized to {size}, the export has {client.size}"
        io = qemu_io(disk)
        io.write(size - 512, 512)
        with pytest.raises(ProgramError):
            io.request(f"write -P 1 {size} 512")
        io.abandon()
    disk.verify()
