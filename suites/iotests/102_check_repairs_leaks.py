"""This case checks that `qemu-img check` finds leaks and corruption in an image, and repairs them.

How: a refcount in the image is changed by hand: first one too high (a leak), then one too low
(corruption). Check must report it by its exit status, repair it, and find nothing more. The data
must stay.
Guards: map-entry-shifted, close-error-lost, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over

KIB = 1 << 10
REFCOUNTS = 128 * KIB  # the third cluster of a new image: 2 bytes for each cluster from 0 on


@case(groups="img qcow2 quick", basis="MUST: qemu-img(1), check")
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("1M", prefill=False, format="qcow2")
    with qemu_io(disk) as io:
        for cluster in (5, 6, 2, 11):
            io.write(64 * KIB * cluster + 512 * cluster, 1000)

    def set_refcount(cluster, low_byte):
        with qemu_io(json_filename(over("raw", disk.protocol_blockdev()))) as volume:
            volume.write(REFCOUNTS + 2 * cluster + 1, 1, pattern=low_byte)

    def check(what, *arguments):
        done = qemu_img.run("check", *arguments, disk.filename, check=False)
        found = [line for line in (done.stdout + done.stderr).splitlines()
                 if line.startswith(("No errors", "ERROR", "Leaked", "Rep"))]  # fmt: skip
        golden(f"{what}: status {done.returncode};", "; ".join(found))

    data = next(extent["offset"] for extent in qemu_img.json("map", disk.filename)
                if extent["data"]) // (64 * KIB)  # fmt: skip
    check("untouched")
    set_refcount(1, 2)
    check("a cluster in use counted twice")
    check("leaks only", "-r", "leaks")
    check("repaired")
    set_refcount(data, 0)
    check("a used cluster that is free")
    check("leaks only", "-r", "leaks")
    check("all", "-r", "all")
    check("repaired")
    disk.verify()
