"""This case checks that a sparse copy of the volume has all of its data and none of its holes.

How: data at a few places of a large empty volume, `qemu-img convert` to a file: equal to what was
written, and no larger on disk than the data and some slack.
Guards: status-hole-over-dirty, sparse-tail-dropped, missing-object-zero-fill.
"""

from qbdcheck.kit import NotRun, case


@case(groups="status convert quick", requires="block_status")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk = new_disk("512M", prefill=False)
    with qemu_io(disk) as io:
        for start in (0, 100 << 20, (300 << 20) + 4096, (512 << 20) - 65536):
            io.write(start, 65536)
    copy = scratch / "copy"
    qemu_img("convert", "-O", "raw", disk.filename, str(copy))
    assert copy.stat().st_size == disk.size
    with copy.open("rb") as file:
        for start, length in disk.shadow.used():
            file.seek(start)
            findings = disk.shadow.check(start, file.read(length))
            assert not findings, "\n".join(map(str, findings))
    if copy.stat().st_blocks * 512 > 4 << 20:
        raise NotRun("the file system of the scratch directory keeps no holes")
