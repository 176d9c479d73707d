"""This case checks that a copy keeps the last bytes of a volume whose size is no multiple of 512.

How: volumes that end 1, 511 and 513 bytes behind a sector (rounded to the minimum block), with data
in the very last byte and zeroes before it, are copied with convert and dd.
Guards: size-rounded-down, last-block-overrun.
Related: sparse-tail-dropped, status-unaligned-eof.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened

BASE = 1 << 20


@case(groups="img convert size", requires="raw_size", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_io, qemu_img, scratch):
    minimum = minimum_block(new_disk("8M", prefill=False))
    for extra in sorted({widened(0, extra, minimum)[1] for extra in (1, 511, 513)}):
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
            what = f"the copy of {disk.size} bytes by qemu-img {' '.join(command[:3])}"
            expect_content(disk.shadow, 0, data[: disk.size], what, disk.size)
            assert not any(data[disk.size :]), f"{what}: data behind the end of the volume"
        disk.verify()
