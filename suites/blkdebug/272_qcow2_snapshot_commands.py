"""This case checks that a failed creation or deletion of a snapshot keeps all data.

How: qemu-img snapshot -c and -d, with one write failing at a time. The command must fail or have
done its work. A repair must fix what is left without loss. A snapshot that exists must be right:
applied, it gives the disk of its time.
Guards: close-error-lost.
Related: snapshot-delete-shared-block, snapshot-map-under-io.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import fail_nth
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.faulty_image import FaultyImage


@case(
    groups="inject errors qcow2 snapshot img",
    basis=("MUST: qemu-img(1), snapshot", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("1M", format="qcow2")
    image, failures = FaultyImage(disk, qemu_io, qemu_img), 0
    for flag in ("-c", "-d"):
        for count in (2, 4, 6, 9, 12):
            name = f"snapshot{count}"
            if flag == "-d" and name not in names(qemu_img, disk):
                qemu_img("snapshot", "-c", name, disk.filename)
            fault = image.filename(fail_nth("pwritev", count, once=True))
            done = qemu_img.run("snapshot", flag, name, fault, check=False)
            # More than a leak: docs/findings.md#qemu-snapshot-error-copied.
            qemu_img.run("check", "-q", "-r", "all", disk.filename, check=False)
            expect_equal(image.check(), 0, "leaked clusters after the repair")
            there = name in names(qemu_img, disk)
            if done.returncode == 0:
                assert there == (flag == "-c"), f"snapshot {flag} succeeded and did nothing"
            if flag == "-c" and there:
                qemu_img("snapshot", "-a", name, disk.filename)
            with qemu_io(disk) as io:
                io.write(count * 20_000, 30_000)
            failures += bool(done.returncode)
        disk.verify()
    assert failures >= 4, f"expected at least 4 failed commands, got {failures}"
    image.repair()
    disk.verify()


def names(qemu_img, disk):
    """Return the names of the disk's snapshots."""
    return {one["name"] for one in qemu_img.json("info", disk.filename).get("snapshots", [])}
