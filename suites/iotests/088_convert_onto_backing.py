"""This case checks that `convert -B` keeps in an overlay only what differs from its backing volume.

How: a changed copy of a volume is converted to a qcow2 overlay on another volume, with the first
volume as its backing file. The overlay must be smaller than the whole, and read like the copy.
Related: status-hole-over-dirty, clone-copyup-lost, discard-exposes-backing.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img convert backing qcow2", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_io, qemu_img, scratch):
    base, top = new_disk("2M"), new_disk("2M", prefill=False, format="qcow2")
    changed = scratch / "changed.qcow2"
    backing = ("-F", "raw", "-b", base.filename)
    qemu_img("create", "-q", "-f", "qcow2", *backing, changed)
    top.shadow.write(0, base.shadow.expected(0, base.size))
    with qemu_io(changed, options={"driver": "qcow2"}, shadow=top.shadow) as io:
        io.write(64 * KIB, 64 * KIB)
        io.write(MIB + 3, 10)
        io.write_zeroes(MIB + 512 * KIB, 256 * KIB)
    target = ("-O", "qcow2", "-F", "raw", "-B", base.filename)
    qemu_img("convert", "-f", "qcow2", *target, changed, top.backend.filename)
    top.verify()
    base.verify()
    extents = qemu_img.json("map", top.filename)
    own = sum(extent["length"] for extent in extents if extent["depth"] == 0)
    assert 0 < own < MIB, f"expected between 0 and {MIB} bytes in the overlay itself, got {own}"
