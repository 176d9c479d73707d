"""This case checks that reads of every length and offset return the data of the volume.

How: no client writes, so the case also runs on read-only targets. Reads of 1 byte to 300 KB are
made one at a time: at the start, at the end, and at random offsets.
Guards: unaligned-offset-rounded, short-read-resume-offset.
"""

from qbdcheck.kit import case

LENGTHS = (1, 511, 512, 513, 4095, 4096, 4097, 65_535, 65_537, 300_001)


@case(groups="rw reading quick", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io, seed):
    random = seed.stream("places")
    with qemu_io(disk, read_only=True) as io:
        for length in LENGTHS:
            last = disk.size - length
            for offset in (0, last, random.randrange(last)):
                io.read(offset, length)
    disk.verify()
