"""This case checks that VDI images, dynamic and static, keep their data on a volume.

How: blocks of 1 MiB are allocated in an odd order, written in part and across; the rest must read
as zeroes though the volume was full; read back after reopening, and checked.
Guards: map-entry-shifted, false-zero-init, misdirected-write.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("4M", format="vdi")
    disk.verify()
    for options in ("static=off", "static=on"):
        disk.create_image(disk.size, options)
        fresh = disk.read_all()
        disk.shadow.discard(0, disk.size)
        disk.shadow.zero(0, disk.size)
        assert options == "static=on" or not fresh.any()
        with qemu_io(disk) as io:
            if options == "static=on":  # a static image shows what the volume held
                io.write(0, disk.size)
            io.write(3 * MIB + 100, 1000)
            io.write(MIB - 512, 1024)
            io.write(disk.size - 1, 1, pattern=3)
            io.write_zeroes(MIB, 64 * KIB)
        disk.verify()
        assert qemu_img.json("check", disk.filename)["check-errors"] == 0
