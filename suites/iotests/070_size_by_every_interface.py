"""This case checks that every interface of QEMU tells the same size of a volume.

How: sizes with distinct bytes; qemu-img info, measure and map, a node in qemu-storage-daemon, its
export, and the wire.
Guards: size-rounded-down, config-byteswapped, size-int-overflow.
"""

from qbdcheck.kit import case

SIZES = (0x0001_0203_0400, 0x0004_0506_0000, 8 << 20)


@case(groups="size img export quick")
def test(new_disk, qemu_img, storage_daemon, nbd, target):
    for size in SIZES:
        disk = new_disk(size, prefill=False)
        assert qemu_img.json("info", disk.filename)["virtual-size"] == size
        assert qemu_img.json("measure", "-O", "raw", disk.filename)["required"] == size
        assert sum(part["length"] for part in qemu_img.json("map", disk.filename)) == size
        if "nbd" in target.capabilities:
            with nbd(disk) as client:
                assert client.size == size
        with storage_daemon() as qsd:
            node = qsd.add(disk.blockdev(node_name="disk"))
            uri = qsd.export(node, name="again", writable=False)
            assert qemu_img.json("info", uri)["virtual-size"] == size
