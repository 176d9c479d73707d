"""This case checks that a copy onto a used volume leaves none of the old data.

How: `qemu-img convert -n` copies a mostly empty image onto a prefilled volume. Every sector that
shows old contents is reported.
Guards: zero-via-nondeterministic-discard, write-zeroes-noop.
Related: false-zero-init.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import image_options


@case(
    groups="convert zero quick",
    basis=("MUST: qemu-img(1), convert", "MUST: NBD, NBD_CMD_WRITE_ZEROES"),
)
def test(disk, qemu_img, scratch):
    source = scratch / "source"
    data = disk.shadow.stamped(3 << 20, 100_000)
    with source.open("wb") as file:
        file.truncate(disk.size)
        file.seek(3 << 20)
        file.write(data)
    target = image_options(disk.blockdev())
    qemu_img("convert", "-n", "-f", "raw", "--target-image-opts", str(source), target)
    disk.shadow.zero(0, disk.size)
    disk.shadow.write(3 << 20, data)
    disk.verify()
