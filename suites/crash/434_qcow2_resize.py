"""This case checks that no power cut damages a qcow2 image while it grows.

How: data, a resize that moves the level 1 table, and data in the new part, with all writes logged.
In each state the image has the old or the new size, passes qemu-img check, and shows old or new
sectors.
Related: grow-exposes-old-data, map-entry-shifted, destage-reorder, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge


@case(
    groups="crash states qcow2 size slow",
    limit_s=60,
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, programs, seed, log):
    disk = new_disk("256k", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=512")
    logged = logged_image(disk)
    with logged.opened():
        logged.write(0, 3000)
        logged.flush()
    logged.resize(4 << 20)
    with logged.opened():
        logged.write(1000, 1000)
        logged.write((4 << 20) - 4096, 4096)
        logged.flush()
    result = logged.explore(qcow2_judge(programs, logged.promises), seed)
    log(result)
    result.must_be_clean()
