"""This case checks that a qcow2 whose growth fails has the old size or the new one.

How: qemu-img resize beyond what the L1 table covers, with an error at the N-th write for each N,
and at each event of the growth. There must be no corruption, all data, and one of the two sizes.
Guards: size-change-across-reconnect.
Related: resize-false-success, map-entry-shifted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import error, fail_nth
from qbdcheck.kit.faulty_image import FaultyImage

EVENTS = "l1_grow_alloc_table l1_grow_write_table l1_grow_activate_table"


@case(
    groups="inject errors qcow2 size img",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("1M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=512")
    with qemu_io(disk) as io:
        io.write(0, 300_000)
    image = FaultyImage(disk, qemu_io, qemu_img)
    faults = [{"inject-error": [error(event, once=True)]} for event in EVENTS.split()]
    faults += [fail_nth("pwritev", count, once=True) for count in range(1, 6)]
    larger, failures = 4 << 20, 0
    for fault in faults:
        size = str(larger)
        done = qemu_img.run("resize", "-q", image.filename(fault), size, check=False)
        image.check()
        now = qemu_img.json("info", disk.filename)["virtual-size"]
        assert now in {disk.size, larger}, f"the size is {now}, neither {disk.size} nor {larger}"
        assert done.returncode or now == larger, "resize succeeded and did nothing"
        failures += bool(done.returncode)
        if now == larger:
            disk.shadow.resize(larger)
            larger *= 4
    assert failures >= 3, f"expected at least 3 failures of resize, got {failures}"
    with qemu_io(disk) as io:
        io.read(0, 64 << 10)
        io.write(disk.size - 70_000, 70_000)
    image.check()
