"""This case checks that many resizes with writes in between leave what their order says.

How: 24 sizes from the seed, up and down, unaligned to blocks; writes at the old and new ends.
Guards: grow-exposes-old-data, resize-false-success, map-entry-shifted.
"""

from qbdcheck.kit import case


@case(groups="size", requires="resize")
def test(new_disk, qemu_io, seed):
    chance = seed.stream("sizes")
    disk = new_disk("1M")
    for number in range(24):
        old = disk.size
        disk.resize(512 * chance.randrange(16, 6000))
        with qemu_io(disk) as io:
            for start in (disk.size - 1024, min(old, disk.size) - 4096, 0):
                io.write(max(start, 0), 1024)
        if number % 4 == 3:
            disk.verify()
    disk.verify()
