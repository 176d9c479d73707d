"""This case checks that VDI images, dynamic and static, keep their data on a volume.

How: blocks of 1 MiB are allocated in an odd order, and written in part and across. The rest must
read as zeroes although the volume was full. The image is read back after reopening, and checked.
Guards: misdirected-write.
Related: map-entry-shifted, false-zero-init.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_no_check_errors

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format", basis="MUST: qemu-block-drivers(7), vdi")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("4M", format="vdi")
    disk.verify()
    for options in ("static=off", "static=on"):
        disk.create_image(disk.size, options)
        fresh = disk.read_all()
        disk.shadow.discard(0, disk.size)
        disk.shadow.zero(0, disk.size)
        assert options == "static=on" or not fresh.any(), "a new dynamic image is not all zeroes"
        with qemu_io(disk) as io:
            if options == "static=on":  # a static image shows the old data of the volume
                io.write(0, disk.size)
            io.write(3 * MIB + 100, 1000)
            io.write(MIB - 512, 1024)
            io.write(disk.size - 1, 1, pattern=3)
            io.write_zeroes(MIB, 64 * KIB)
        disk.verify()
        expect_no_check_errors(qemu_img, disk.filename)
