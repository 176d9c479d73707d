"""This case checks that requests beyond the end fail on the target as on a file, and do nothing.

How: reads, writes and zeroes across and behind the end; both sides must refuse them (with whichever
errno), and all bytes stay as they were.
Guards: oob-past-end, last-block-overrun, size-int-overflow.
"""

from qbdcheck.kit import case


@case(groups="size errors verify protocol", requires="nbd write_zeroes")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    pair = dual_write(disk)
    for kind in ("read", "write", "zero"):
        for offset, length in ((-512, 1024), (0, 512), (512, 4096), (1 << 40, 512)):
            pair.ask(kind, disk.size + offset, length)
    pair.check()
    disk.verify()
