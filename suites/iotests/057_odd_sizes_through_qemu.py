"""This case checks that volumes whose size is no multiple of a sector keep their tail through QEMU.

How: sizes of k * 4096 plus 1, 511, 512, 513, 4095 bytes with data in the last partial block only,
copied out sparsely and back into another volume.
Guards: sparse-tail-dropped, size-rounded-down, status-unaligned-eof, last-block-overrun.
"""

from qbdcheck.kit import case

TAILS = (1, 511, 512, 513, 4095)


@case(groups="size convert", requires="raw_size")
def test(new_disk, qemu_io, qemu_img, scratch):
    for tail in TAILS:
        size = (16 << 12) + tail
        disk = new_disk(size, prefill=False)
        with qemu_io(disk) as io:
            io.write(size - tail, tail)
        disk.verify()
        copy = scratch / "copy"
        qemu_img("convert", "-O", "raw", disk.filename, str(copy))
        with copy.open("rb") as file:
            seen = file.read()
        assert not disk.shadow.check(0, seen[:size]), f"the tail of {size} bytes is not in the copy"
        assert not any(seen[size:]), f"something stands behind the end of {size} bytes"
        other = new_disk(size)
        with qemu_io(other) as io:
            io.write_zeroes(0, size)
            io.write(size - tail, tail)
        other.verify()
