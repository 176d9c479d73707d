"""This case checks that a disk exported through two daemons in a row is the same at the far end.

How: one daemon exports the disk, and a second one exports that export. At the far end there are
stamps, FUA, zeroes and discards, an error beyond the end, and a map that must not hide data.
Related: zero-flags-lost, status-hole-over-dirty, fua-write-ack-early, errno-collapsed.
"""

from urllib.parse import parse_qs, urlsplit

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import nbd_node, over
from qbdcheck.kit.expectations import expect_in


@case(
    groups="export rw status discard",
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, NBD_CMD_WRITE_ZEROES"),
)
def test(disk, qemu_io, qemu_img, storage_daemon):
    with storage_daemon() as near, storage_daemon() as far:
        near.add(disk.blockdev("disk", discard="unmap"))
        socket = parse_qs(urlsplit(near.export("disk")).query)["socket"][0]
        far.add(over("raw", nbd_node(socket, "disk", discard="unmap"), "again", discard="unmap"))
        uri = far.export("again")
        with qemu_io(uri, shadow=disk.shadow) as io:
            for number in range(8):
                io.write((number << 20) - (77 if number else 0), 10_000, fua=bool(number % 2))
                io.aio_write((number << 20) + 50_000, 50_000)
            io.drain()
            io.write_zeroes(1 << 20, 300_000, unmap=True)
            io.write_zeroes(3 << 20, 65536)
            io.discard(5 << 20, 1 << 20)
            expect_in("Input/output error", io(f"read {disk.size} 512"), "a read at the end")
            io.flush()
            holes = [e for e in qemu_img.json("map", uri) if e["zero"]]
            disk.verify()
            contents = disk.read_all()
            for extent in holes:
                start = extent["start"]
                assert not contents[start : start + extent["length"]].any(), (
                    f"the zero extent {extent} contains data"
                )
            io.read(0, 1 << 20)
            io.read(disk.size - (1 << 20), 1 << 20)
