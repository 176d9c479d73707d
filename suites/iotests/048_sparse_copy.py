"""This case checks that a sparse copy of the volume has all of its data and none of its holes.

How: data at a few places of a large empty volume is copied by `qemu-img convert` to a file. The
file must equal what was written, and take little more space than the data.
Related: status-hole-over-dirty, sparse-tail-dropped, missing-object-zero-fill.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.expectations import expect_content, expect_equal


@case(
    groups="status convert quick",
    requires="block_status",
    basis=("MUST: qemu-img(1), convert", "MUST: NBD, Metadata contexts"),
)
def test(new_disk, qemu_io, qemu_img, scratch):
    disk = new_disk("512M", prefill=False)
    with qemu_io(disk) as io:
        for start in (0, 100 << 20, (300 << 20) + 4096, (512 << 20) - 65536):
            io.write(start, 65536)
    copy = scratch / "copy"
    qemu_img("convert", "-O", "raw", disk.filename, str(copy))
    expect_equal(copy.stat().st_size, disk.size, "the size of the copy")
    with copy.open("rb") as file:
        for start, length in disk.shadow.used():
            file.seek(start)
            expect_content(disk.shadow, start, file.read(length), "the copy")
    if copy.stat().st_blocks * 512 > 4 << 20:
        raise NotRun("the file system of the scratch directory keeps no holes")
