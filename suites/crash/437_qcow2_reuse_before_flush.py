"""This case checks that a freed qcow2 cluster is not reused before it is durably free.

How: clusters are zeroed or discarded and others allocated with no flush between; then power fails.
What was zeroed must be old or zero, never the new data of another place. Disabled because QEMU
7.2.22 fails it on every target (docs/findings.md#qcow2-reuse-before-flush).
Guards: destage-reorder, zero-unmap-not-durable, previous-tenant-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge


@case(
    groups="crash states qcow2 zero discard disabled",
    limit_s=60,
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, programs, seed):
    disk = new_disk("512k", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4096")
    logged = logged_image(disk)
    with logged.opened():
        logged.write(0, 32_768)
        logged.flush()
        logged.zero(4096, 8192, unmap=True)
        logged.write(100_000, 6000)
        logged.discard(16_384, 8192)
        logged.write(200_000, 6000)
        logged.flush()
    logged.explore(qcow2_judge(programs, logged.promises), seed).must_be_clean()
