"""This case checks that a qcow2 image on the target reads like a file, also when resized.

How: what fsx does to a file: 150 requests through an export of qemu-storage-daemon, with
block_resize to whole clusters between them (docs/findings.md#qemu-qcow2-shrink-grow); then qemu-img
check.
Guards: extent-boundary-misroute.
Related: grow-exposes-old-data, resize-false-success.
"""

from oracles.workload import FSX
from qbdcheck.kit import case


@case(
    groups="size verify qcow2 format",
    basis=("MUST: NBD, NBD_CMD_READ", "POLICY: grown-part-reads-zero"),
)
def test(new_disk, dual_write, qemu_img, seed):
    disk = new_disk("2M", format="qcow2")
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("fsx"), 150, weights=FSX, align=512, hot=0,
                           size_align=65536))  # fmt: skip
    pair.check()
    dual_write.close()
    qemu_img("check", "-q", disk.filename)
    disk.verify()
