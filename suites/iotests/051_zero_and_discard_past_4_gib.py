"""This case checks that zeroes and discards longer than 2 GiB cover exactly their range.

How: data at GiB boundaries of a sparse volume. One long zeroing and one long discard, in a single
request each if there is a raw client, must not change the data outside.
Guards: offset-32bit-wrap, discard-overreach, malformed-extents, limits-zero-or-excessive.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import flush_if_offered

GIB = 1 << 30
QEMU_IO_MAX = (1 << 31) - 512


@case(groups="size zero discard quick", requires="write_zeroes discard")
def test(new_disk, qemu_io, nbd, target):
    disk = new_disk(9 * GIB, prefill=False)
    edges = [0, GIB, 2 * GIB, 3 * GIB, 4 * GIB, 5 * GIB, 8 * GIB]
    with qemu_io(disk) as io:
        for edge in edges:
            io.write(max(edge - 4096, 0), 12288)
        io.flush()
        if "nbd" in target.capabilities:
            with nbd(disk) as client:
                client.write_zeroes(GIB, 3 * GIB)
                disk.shadow.zero(GIB, 3 * GIB)
                client.trim(4 * GIB + 4096, 4 * GIB - 4096)
                disk.shadow.discard(4 * GIB + 4096, 4 * GIB - 4096)
                flush_if_offered(client)
        else:
            for start in (GIB, 2 * GIB):
                io.write_zeroes(start, QEMU_IO_MAX, unmap=True)
            io.discard(4 * GIB + 4096, QEMU_IO_MAX)
        for edge in edges:
            io.read(max(edge - 4096, 0), 12288)
            io.write(edge, 4096)
    disk.verify()
