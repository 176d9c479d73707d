"""This case checks that `--target-is-zero` writes the data and nothing else.

How: on a volume that was never written the result is the source. On a volume with data, convert
must not touch the data at the holes of the source, because the option promises that the target is
zero.
Guards: false-zero-init.
Related: discard-overreach, misdirected-write.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img convert", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_io, qemu_img, scratch):
    source = scratch / "source.qcow2"
    empty, full = new_disk("4M", prefill=False), new_disk("4M")
    qemu_img("create", "-q", "-f", "qcow2", source, str(empty.size))
    ranges = ((64 * KIB, 64 * KIB), (1 * MIB, 192 * KIB), (4 * MIB - 64 * KIB, 64 * KIB))
    with qemu_io(source, options={"driver": "qcow2"}, shadow=empty.shadow) as io:
        for offset, length in ranges:
            io.write(offset, length)
    for offset, length in ranges:
        full.shadow.write(offset, empty.shadow.expected(offset, length))
    for disk in (empty, full):
        arguments = ("-n", "--target-is-zero", "-f", "qcow2", "-O", "raw")
        qemu_img("convert", *arguments, source, disk.filename)
        disk.verify()
