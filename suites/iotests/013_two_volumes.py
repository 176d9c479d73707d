"""This case checks that two volumes of different sizes never see each other's data.

How: both are prefilled with stamps that name their volume, and are open at the same time. Requests
go to them in turns, to the same offsets, and to the end of the larger one.
Related: wrong-volume-or-lun, cross-connection-state, oob-past-end.
"""

from qbdcheck.kit import case


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, qemu_io):
    small, large = new_disk(2 << 20), new_disk(5 << 20)
    with qemu_io(small) as one, qemu_io(large) as other:
        for number in range(20):
            offset = number * 100_000
            one.write(offset, 5000)
            other.write(offset, 5000)
            one.read(offset + 2500, 5000)
            other.read(offset + 2500, 5000)
        one.write(small.size - 512, 512)
        other.write(large.size - 512, 512)
    small.verify()
    large.verify()
