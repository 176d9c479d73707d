"""This case checks that the last of many writes to one place is what a read returns.

How: the same ranges are written many times, each time with a new generation of stamps, with reads
in between. An older generation in any sector is a lost write.
Guards: phantom-write.
Related: per-client-cache-stale.
"""

from qbdcheck.kit import case


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for number in range(30):
            io.write(0, 4096)
            io.write((1 << 20) + 100, 1000)
            io.write(4 << 20, 128 << 10)
            if number % 3 == 0:
                io.read(0, 4096)
                io.read((1 << 20) + 100, 1000)
                io.read((4 << 20) + 4096, 4096)
    disk.verify()
