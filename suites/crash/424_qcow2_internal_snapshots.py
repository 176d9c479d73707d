"""This case checks that no power cut around an internal snapshot damages a qcow2 image.

How: writes, a snapshot, copy-on-write, and the removal of the snapshot, with all writes logged.
Some states need a repair (docs/findings.md#qcow2-snapshot-cut). After it each state must pass
qemu-img check, and show the guest old or new sectors.
Related: snapshot-map-under-io, snapshot-delete-shared-block, destage-reorder, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge


@case(
    groups="crash states qcow2 snapshot slow",
    limit_s=60,
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, programs, seed, log):
    disk = new_disk("512k", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4096")
    logged = logged_image(disk)
    with logged.opened():
        logged.write(0, 20_000)
        logged.flush()
    logged.qemu_img("snapshot", "-c", "first")
    with logged.opened():
        logged.write(2000, 5000)
        logged.write(12_288, 4096)
        logged.flush()
    logged.qemu_img("snapshot", "-d", "first")
    result = logged.explore(qcow2_judge(programs, logged.promises, repairs=True), seed)
    log(result)
    result.must_be_clean()
