"""This case checks that a qcow2 whose shrinking fails at any step keeps all data that is left.

How: qemu-img resize --shrink with an error at each event of the shrinking and at the N-th write.
There must be no corruption, the kept part must be unchanged, and shrinking again must succeed.
Guards: map-entry-shifted, discard-overreach.
Related: resize-false-success.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import error, fail_nth
from qbdcheck.kit.faulty_image import FaultyImage

KEPT = 100 << 10


@case(
    groups="inject errors qcow2 size img",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("1M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=512")
    with qemu_io(disk) as io:
        io.write(0, disk.size)
    image = FaultyImage(disk, qemu_io, qemu_img)
    events = ("l1_shrink_write_table", "l1_shrink_free_l2_clusters")
    faults = [{"inject-error": [error(event, once=True)]} for event in events]
    faults += [fail_nth("pwritev", count, once=True) for count in range(1, 5)]
    sizes, failures = iter(range(900 << 10, KEPT, -100 << 10)), 0
    for fault in faults:
        size = next(sizes)
        arguments = ["resize", "-q", "--shrink", image.filename(fault), str(size)]
        failures += bool(qemu_img.run(*arguments, check=False).returncode)
        image.check()
        qemu_img("resize", "-q", "--shrink", disk.filename, str(size))
        disk.shadow.resize(size)
        disk.verify()
    assert failures >= 2, f"expected at least 2 failures of resize, got {failures}"
    image.repair()
    disk.verify()
