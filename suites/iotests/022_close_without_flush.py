"""This case checks that a client that leaves without a flush leaves its data behind.

How: QEMU flushes whenever it closes a disk, so raw clients come one after the other, write, and say
goodbye; no power was cut, so every next one must find what was acknowledged.
Guards: close-drops-dirty.
"""

from qbdcheck.kit import case


@case(groups="rw quick flush protocol", requires="nbd")
def test(disk, nbd_io):
    for number in range(8):
        with nbd_io(disk) as io:
            for offset in ((number - 1) % 8 * 1_000_003, 6 << 20):
                io.read(offset, 9000)
            for offset in (number * 1_000_003, 6 << 20):
                io.write(offset, 9000)
    disk.verify()
