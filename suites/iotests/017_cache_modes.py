"""This case checks that data written in each cache mode is there for the next open.

How: each mode writes to places of its own and closes the disk. The next mode first reads what was
written before.
Guards: phantom-write.
Related: advertised-not-implemented.
"""

from qbdcheck.kit import case

MODES = ("writeback", "writethrough", "none", "directsync", "unsafe")


@case(groups="rw quick flush", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    for number, mode in enumerate(MODES):
        # aio=native would need O_DIRECT, which half of the modes lack
        with qemu_io(disk, cache=mode, aio="threads") as io:
            for earlier in range(number):
                io.read(earlier << 20, 8192)
            io.write(number << 20, 8192)
            io.write((number << 20) + 3000, 3000)
            io.write((7 << 20) + 512 * number, 1024)
            io.flush()
            io.read(number << 20, 8192)
    disk.verify()
