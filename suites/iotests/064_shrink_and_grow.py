"""This case checks that data cut off by shrinking does not come back when the volume grows again.

How: shrink a prefilled volume to odd places, grow it back, everything behind the cut must be zero.
Guards: grow-exposes-old-data, previous-tenant-data, resize-false-success.
"""

from qbdcheck.kit import case

CUTS = ((4 << 20) + 512, (3 << 20) + 4096, 1 << 20, (512 << 10) - 1024, 1024)


@case(groups="size quick", requires="resize")
def test(new_disk, qemu_io):
    disk = new_disk("5M")
    for cut in CUTS:
        disk.resize(cut)
        disk.verify()
        disk.resize(5 << 20)
        disk.verify()
        with qemu_io(disk) as io:
            io.write(max(cut - 2048, 0), 8192)
        disk.verify()
