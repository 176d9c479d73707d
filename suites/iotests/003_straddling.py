"""This case checks that a request across any boundary is complete on both sides.

How: writes and reads across the edges of sectors, pages, 64 KiB, 1 MiB, 2 MiB and 4 MiB, of
different length on both sides. A backend made of extents or stripes has to split them.
Guards: extent-boundary-misroute, unaligned-offset-rounded, misdirected-write.
"""

from qbdcheck.kit import case

EDGES = (512, 1024, 4096, 8192, 64 << 10, 128 << 10, 1 << 20, (1 << 20) + 512, 2 << 20, 3 << 20,
         4 << 20, 5 << 20)  # fmt: skip


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for edge in EDGES:
            for before, after in ((1, 1), (3, 511), (509, 2)):
                io.write(edge - before, before + after)
                io.read(edge - before, before + after)
        for edge in EDGES[4:]:
            io.write(edge - 4096, 12288)
            io.read(edge - 5000, 10000)
    disk.verify()
