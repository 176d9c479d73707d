"""This case checks that every interface of QEMU reports the same size of a volume.

How: sizes whose bytes differ. They are read from qemu-img info, measure and map, from a node in
qemu-storage-daemon, from its export, and from the NBD handshake.
Guards: size-rounded-down, config-byteswapped.
Related: size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_size
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import first_possible, size_unit

SIZES = (0x0001_0203_0400, 0x0004_0506_0000, 8 << 20)


@case(
    groups="size img export reading quick",
    basis=("MUST: QAPI, query-named-block-nodes", "MUST: NBD, NBD_OPT_GO"),
)
def test(qemu_img, storage_daemon, nbd, target, log):
    unit = size_unit(target)
    for wanted in SIZES:
        # A target without thin allocation gets smaller volumes.
        disk = first_possible(
            target, [widened(0, one, unit)[1] for one in (wanted, wanted >> 8)], log
        )
        size = disk.size
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
