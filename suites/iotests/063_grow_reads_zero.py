"""This case checks that space added by growing reads as zeroes, and old data stays.

How: a prefilled volume grown in steps that end inside and at the edge of blocks; new space is read,
then written at its first and last bytes.
Guards: grow-exposes-old-data, resize-not-notified, resize-false-success, previous-tenant-data.
"""

from qbdcheck.kit import case

STEPS = (512, 4096, 65536 - 512, 1 << 20, (3 << 20) + 1536)


@case(groups="size quick", requires="resize")
def test(new_disk, qemu_io):
    disk = new_disk("2M")
    for step in STEPS:
        old = disk.size
        disk.resize(old + step)
        with qemu_io(disk) as io:
            assert not any(io.read(old, min(step, 65536)))
            io.write(old, 512)
            io.write(disk.size - 512, 512)
        disk.verify()
