"""This case checks that the driver changes the size of a volume, and knows the new size at once.

How: a node grows and shrinks in one QEMU, by truncate. After each change its length, its new last
sector and the sector behind it must fit; a part that was cut off must not come back.
Guards: resize-false-success, resize-not-notified, grow-exposes-old-data.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.expectations import expect_size

MIB = 1 << 20


@case(groups="size", requires="own_driver", limit_s=30, basis="MUST: QAPI, block_resize")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk(4 * MIB)
    with qemu_io(disk) as io:
        for size in (6 * MIB, 2 * MIB, 5 * MIB):
            answer = io(f"truncate {size}")
            if "upport" in answer:
                raise NotRun(f"the driver does not resize: {answer.strip()}")
            assert not answer.strip(), f"RESIZE to {size} bytes failed: {answer.strip()}"
            disk.shadow.resize(size)
            seen = io("length").strip()
            assert seen == f"{size // MIB} MiB", f"RESIZE to {size} bytes: the length is {seen}"
            io.read(size - 4096, 4096)
            io.write(size - 512, 512)
            beyond = io(f"read {size} 512")
            text = f"READ of 512 bytes at the end, offset {size}, must fail: {beyond.strip()}"
            assert "error" in beyond or "failed" in beyond, text
        io.flush()
    expect_size(qemu_img, disk.filename, disk.size)
    disk.verify()
