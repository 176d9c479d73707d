"""This case checks that a copy keeps the last bytes of a volume whose size is no multiple of 512.

How: volumes that end 1, 511 and 513 bytes beyond a sector, with data in the very last byte and with
zeroes before it, copied with convert and dd.
Guards: sparse-tail-dropped, size-rounded-down, status-unaligned-eof, last-block-overrun.
"""

from qbdcheck.kit import case

BASE = 1 << 20


@case(groups="img convert size", requires="raw_size")
def test(new_disk, qemu_io, qemu_img, scratch):
    for extra in (1, 511, 513):
        disk = new_disk(BASE + extra)
        with qemu_io(disk) as io:
            io.write_zeroes(BASE - 65536, 65536 + extra - 1, unmap=True)
            io.write(BASE + extra - 1, 1, pattern=0xE7)
        copy = scratch / "copy"
        for command in (
            ("convert", "-O", "raw", disk.filename, copy),
            ("convert", "-O", "raw", "-S", "0", disk.filename, copy),
            ("dd", "-O", "raw", f"if={disk.filename}", f"of={copy}", "bs=4k"),
        ):
            qemu_img(*command, timeout_s=10)
            data = copy.read_bytes()
            assert disk.shadow.check(0, data[: disk.size], disk.size) == [], command[:4]
            assert not any(data[disk.size :]), command[:4]
        disk.verify()
