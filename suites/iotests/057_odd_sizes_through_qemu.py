"""This case checks that a volume whose size is no multiple of a sector keeps its tail through QEMU.

How: sizes of k * 4096 plus 1, 511, 512, 513 and 4095 bytes, rounded to the minimum block, with data
in the last partial block only. The data is copied out sparsely, and into another volume.
Guards: size-rounded-down, last-block-overrun.
Related: sparse-tail-dropped, status-unaligned-eof.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened

TAILS = (1, 511, 512, 513, 4095)


@case(
    groups="size convert",
    requires="raw_size",
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: qemu-img(1), convert"),
)
def test(new_disk, qemu_io, qemu_img, scratch):
    minimum = minimum_block(new_disk("8M", prefill=False))
    for tail in sorted({widened(0, tail, minimum)[1] for tail in TAILS}):
        size = (16 << 12) + tail
        disk = new_disk(size, prefill=False)
        with qemu_io(disk) as io:
            io.write(size - tail, tail)
        disk.verify()
        copy = scratch / "copy"
        qemu_img("convert", "-O", "raw", disk.filename, str(copy))
        with copy.open("rb") as file:
            seen = file.read()
        expect_content(disk.shadow, 0, seen[:size], f"the copy of a volume of {size} bytes")
        behind = f"the copy of a volume of {size} bytes has data behind the end of the volume"
        assert not any(seen[size:]), behind
        other = new_disk(size)
        with qemu_io(other) as io:
            io.write_zeroes(0, size)
            io.write(size - tail, tail)
        other.verify()
