"""This case checks that bitmaps in an image are added, merged, cleared and removed as requested.

How: each step of `qemu-img bitmap` on an image, and the list of bitmaps after it. One write between
two steps gives a merge something to merge. The data must not change.
Guards: close-error-lost.
Related: incremental-misses-hole, discard-not-tracked.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound


@case(groups="img bitmap qcow2", basis="MUST: qemu-img(1), bitmap")
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("2M", format="qcow2")

    def step(*arguments):
        qemu_img("bitmap", *arguments[:-1], disk.filename, arguments[-1])
        found = qemu_img.json("info", disk.filename)["format-specific"]["data"].get("bitmaps", [])
        names = [f"{one['name']}({','.join([str(one['granularity']), *one['flags']])})"
                 for one in sorted(found, key=lambda one: one["name"])]  # fmt: skip
        golden(" ".join(arguments), "->", *names)

    step("--add", "one")
    step("--add", "-g", "4k", "two")
    step("--disable", "two")
    with qemu_io(disk) as io:
        io.write(100_000, 300_000)
    step("--add", "--disable", "-g", "64k", "three")
    step("--merge", "one", "three")
    step("--clear", "one")
    step("--enable", "two")
    step("--remove", "one")
    for arguments in (("--remove", "one"), ("--add", "two"), ("--merge", "gone", "two")):
        error = qemu_img.fails("bitmap", *arguments[:-1], disk.filename, arguments[-1])
        golden(error.rpartition(": ")[2])
    disk.verify()
    expect_sound(qemu_img, disk.filename)
