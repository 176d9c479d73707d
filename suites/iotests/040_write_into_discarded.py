"""This case checks that a small write into a discarded range leaves the bytes around it old or
zero.

How: writes of 1 byte to 8 KiB at edges inside discarded blocks of 64 KiB. The rest of a block must
show nothing else, in particular no older contents.
Related: alloc-map-rounding-reads-zero, previous-tenant-data, zero-unmap-not-durable.
"""

from qbdcheck.kit import case

WRITES = ((0, 1), (511, 2), (512, 512), (4095, 4097), (8192, 8192), (65535, 1), (61440, 4096))


@case(groups="rw discard", requires="discard", formats="any", basis="POLICY: discard-old-or-zero")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for number, (start, length) in enumerate(WRITES):
            block = number << 20
            io.write(block, 65536)
            io.discard(block, 65536)
            io.write(block + start, length)
            io.read(block, 65536)
            io.write(block + start, length)
    disk.verify()
