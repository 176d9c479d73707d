"""This case checks that requests beyond the end of a disk fail and do not change the disk.

How: reads, writes, zeroes and discards begin at the end, end behind it, and begin far behind it.
The error texts are in the golden. Requests that end exactly at the last byte succeed.
Guards: last-block-overrun.
Related: oob-past-end, size-rounded-up.
"""

from qbdcheck.kit import case

BEYOND = ("{size} 512", "{last} 2", "{half} 6m", "1t 512", "9223372036854775296 512")


@case(
    groups="rw quick errors",
    basis=("SHOULD: NBD, Error values", "POLICY: refused-request-changes-nothing"),
)
def test(disk, qemu_io, golden):
    places = {"size": disk.size, "last": disk.size - 1, "half": disk.size // 2}
    with qemu_io(disk) as io:
        for request in ("read", "write -P 1", "write -z", "discard"):
            for where in BEYOND:
                answer = io(f"{request} {where.format(**places)}").strip()
                golden(f"{request} {where}: {answer}")
        io.write(disk.size - 3, 3)
        io.read(disk.size - 512, 512)
    disk.verify()
