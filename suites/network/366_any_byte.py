"""This case checks that without a minimum block size each byte can be written and read alone.

How: lengths and offsets that are no multiple of anything, across sector and page boundaries, beside
each other; nothing but these bytes changes.
Guards: unaligned-offset-rounded, sector-unit-mismatch.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_probe import enter, haggling

SHAPES = ((0, 1), (1, 1), (511, 2), (513, 510), (4095, 1), (4095, 4098), (65535, 3), (70001, 12345))


@case(groups="protocol rw", requires="nbd raw_size")
def test(disk):
    with haggling(disk) as client:
        enter(client, disk)
        if (client.block_sizes or (1, 1, 1))[0] > 1:
            return
        for offset, length in (*SHAPES, (disk.size - 1, 1), (disk.size - 777, 777)):
            data = disk.shadow.stamped(offset, length)
            client.write(offset, data)
            disk.shadow.write(offset, data)
            assert bytes(client.read(offset, length)) == data
        for offset, length in SHAPES:
            around = max(0, offset - 3)
            seen = bytes(client.read(around, length + 7))
            assert seen == disk.shadow.expected(around, length + 7)
    disk.verify()
