"""This case checks that `convert -n` onto a volume full of old data leaves none of the old data.

How: the source is mostly holes, which convert zeroes on the target. If the volume does not really
zero, or zeroes the wrong place, an old stamp stays and names itself.
Guards: write-zeroes-noop, zero-via-nondeterministic-discard.
Related: false-zero-init, discard-overreach.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img convert zero quick", formats="any", basis="MUST: qemu-img(1), convert")
def test(disk, qemu_io, qemu_img, scratch):
    source = scratch / "source.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", source, str(disk.size))
    disk.shadow.zero(0, disk.size)
    with qemu_io(source, options={"driver": "qcow2"}, shadow=disk.shadow) as io:
        for offset, length in ((512, 1024), (1 * MIB - 5, 10), (3 * MIB, 64 * KIB), (5 * MIB, 3)):
            io.write(offset, length)
        io.write_zeroes(4 * MIB, 256 * KIB)
    qemu_img("convert", "-n", "-f", "qcow2", "-O", disk.format, source, disk.filename)
    disk.verify()
