"""This case checks that every interface of QEMU reports the same size of a volume.

How: sizes whose bytes differ. They are asked of qemu-img info, measure and map, of a node in
qemu-storage-daemon, of its export, and in the NBD handshake.
Guards: size-rounded-down, config-byteswapped, size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_size
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

SIZES = (0x0001_0203_0400, 0x0004_0506_0000, 8 << 20)


@case(groups="size img export quick")
def test(new_disk, qemu_img, storage_daemon, nbd, target):
    unit = size_unit(target)
    for size in (widened(0, size, unit)[1] for size in SIZES):
        disk = new_disk(size, prefill=False)
        expect_size(qemu_img, disk.filename, size)
        seen = {
            "qemu-img measure": qemu_img.json("measure", "-O", "raw", disk.filename)["required"],
            "qemu-img map": sum(one["length"] for one in qemu_img.json("map", disk.filename)),
        }
        if "nbd" in target.capabilities:
            with nbd(disk) as client:
                seen["the NBD handshake"] = client.size
        for what, number in seen.items():
            assert number == size, f"{what}: expected {size} bytes, got {number}"
        with storage_daemon() as qsd:
            node = qsd.add(disk.blockdev(node_name="disk"))
            expect_size(qemu_img, qsd.export(node, name="again", writable=False), size)
