"""This case checks that requests up to 64 MiB, more than most protocols allow at once, are
complete.

How: 32 MiB (the limit that NBD clients assume), one sector more, and 64 MiB, which QEMU has to
split. Where the writes overlap, the later one must be there.
Guards: limits-zero-or-excessive, short-read-resume-offset.
Related: misdirected-write.
"""

from qbdcheck.kit import case

MIB = 1 << 20


@case(groups="rw slow", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, qemu_io):
    disk = new_disk(66 * MIB, prefill=False)
    with qemu_io(disk) as io:
        io.write(MIB, 64 * MIB)
        io.write(15 * MIB, 32 * MIB)
        io.write(33 * MIB - 512, 32 * MIB + 512)
    disk.verify()
