"""This case checks that zeroes and discards longer than 2 GiB cover exactly their range.

How: data at GiB boundaries of a sparse volume. One long zeroing and one long discard, in a single
request each if there is a raw client, must not change the data outside. If the target makes no
volume of 9 GiB, all is scaled down.
Guards: offset-32bit-wrap, discard-overreach, limits-zero-or-excessive.
Related: malformed-extents.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import first_possible

GIB = 1 << 30
QEMU_IO_MAX = (1 << 31) - 512


@case(
    groups="size zero discard quick",
    requires="write_zeroes discard",
    basis=(
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "MUST: NBD, NBD_CMD_TRIM",
        "POLICY: discard-old-or-zero",
    ),
)
def test(qemu_io, nbd_io, target, log):
    disk = first_possible(target, [9 * GIB >> less for less in range(0, 9, 2)], log)
    part = disk.size // 9
    edges = [number * part for number in (0, 1, 2, 3, 4, 5, 8)]
    with qemu_io(disk) as io:
        for edge in edges:
            io.write(max(edge - 4096, 0), 12288)
        io.flush()
        if "nbd" in target.capabilities:
            with nbd_io(disk) as client:
                client.write_zeroes(part, 3 * part)
                client.discard(4 * part + 4096, 4 * part - 4096)
                client.flush()
        else:
            for start in (part, 2 * part):
                io.write_zeroes(start, min(2 * part, QEMU_IO_MAX), unmap=True)
            io.discard(4 * part + 4096, min(2 * part, QEMU_IO_MAX))
        for edge in edges:
            io.read(max(edge - 4096, 0), 12288)
            io.write(edge, 4096)
    disk.verify()
