"""This case checks that a client that leaves without a flush leaves its data behind.

How: QEMU flushes whenever it closes a disk, so raw clients come one after the other, write, and say
goodbye; no power was cut, so every next one must find what was acknowledged.
Guards: close-drops-dirty.
"""

from qbdcheck.kit import case


@case(groups="rw quick flush protocol", requires="nbd")
def test(disk, nbd):
    for number in range(8):
        with nbd(disk) as client:
            for offset in ((number - 1) % 8 * 1_000_003, 6 << 20):
                findings = disk.shadow.check(offset, client.read(offset, 9000))
                assert not findings, "\n".join(map(str, findings))
            for offset in (number * 1_000_003, 6 << 20):
                data = disk.shadow.stamped(offset, 9000)
                client.write(offset, data)
                disk.shadow.write(offset, data)
    disk.verify()
