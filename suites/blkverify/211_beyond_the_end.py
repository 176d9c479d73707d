"""This case checks that requests beyond the end fail as on a file, and change nothing.

How: reads, writes and zeroes across and behind the end. Both sides must refuse them, with any
errno, and all bytes must stay as they were.
Guards: oob-past-end, last-block-overrun.
Related: size-int-overflow.
"""

from qbdcheck.kit import case


@case(
    groups="size errors verify protocol",
    requires="nbd write_zeroes",
    basis=("SHOULD: NBD, Request types", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk, dual_write):
    disk = new_disk("1M")
    pair = dual_write(disk)
    for kind in ("read", "write", "zero"):
        for offset, length in ((-4096, 8192), (0, 4096), (4096, 4096), (1 << 40, 4096)):
            pair.ask(kind, disk.size + offset, length)
    pair.check()
    disk.verify()
