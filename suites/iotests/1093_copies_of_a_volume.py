"""This case checks that convert, compare, measure and map agree on a volume that nobody writes.

How: a full volume is copied with 1 and with 16 requests in flight, into raw and compressed qcow2.
Each copy must be identical. A copy that was changed by one byte must differ.
Guards: last-block-overrun, transient-becomes-fatal.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_identical

PLACE = 1_500_001


@case(
    groups="img convert reading quick",
    basis=("MUST: qemu-img(1), convert", "MUST: qemu-img(1), compare"),
)
def test(new_disk, qemu_img, scratch):
    disk = new_disk("2M")
    for number, options in enumerate(
        (("-m", "1"), ("-m", "16", "-W"), ("-c", "-O", "qcow2"), ("-S", "0"), ("-t", "none"))
    ):
        kind = "qcow2" if "qcow2" in options else "raw"
        copy = scratch / f"copy{number}"
        qemu_img("convert", "-O", kind, *options, disk.filename, copy)
        expect_identical(qemu_img, "-U", "-F", kind, disk.filename, copy)
        if kind == "raw":
            expect_content(disk.shadow, 0, copy.read_bytes(), f"convert {' '.join(options)}")
    covered = sum(one["length"] for one in qemu_img.json("map", disk.filename))
    assert covered == disk.size, f"qemu-img map covers {covered} of {disk.size} bytes"
    with (scratch / "copy0").open("r+b") as file:
        file.seek(PLACE)
        old = file.read(1)
        file.seek(PLACE)
        file.write(bytes([old[0] ^ 1]))
    done = qemu_img.run("compare", "-U", disk.filename, scratch / "copy0", check=False)
    assert done.returncode == 1, f"one byte differs, qemu-img compare says: {done.stdout}"
    disk.verify()
