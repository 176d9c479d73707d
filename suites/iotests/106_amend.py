"""This case checks that amend changes the options of an image on a volume, and not its data.

How: the version changes to the old one of qcow2 and back, lazy refcounts go on and off, and
refcounts change their width, with data and zero clusters in place. What cannot be changed is
refused.
Guards: map-entry-shifted, phantom-write.
Related: zero-flags-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB = 1 << 10


@case(groups="img qcow2", basis=("MUST: qemu-img(1), amend", "MUST: QEMU, interop/qcow2"))
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("1M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4k")  # larger clusters make this slow
    disk.prefill()
    with qemu_io(disk) as io:
        io.write_zeroes(128 * KIB, 128 * KIB)
        io.discard(512 * KIB, 64 * KIB)
    with qemu_io(disk) as io:
        io.write(300 * KIB, 200 * KIB)
    disk.verify()
    for options in ("compat=0.10", "compat=1.1", "lazy_refcounts=on", "refcount_bits=64",
                    "refcount_bits=2,lazy_refcounts=off", "refcount_bits=16"):  # fmt: skip
        qemu_img("amend", "-o", options, disk.filename)
        data = qemu_img.json("info", disk.filename)["format-specific"]["data"]
        golden(options, data["compat"], data.get("refcount-bits"), data.get("lazy-refcounts"))
        disk.verify()
        expect_sound(qemu_img, disk.filename)
    for options in ("cluster_size=4k", "refcount_bits=3"):
        golden(qemu_img.fails("amend", "-o", options, disk.filename).rpartition("qemu-img: ")[2])
        disk.verify()
