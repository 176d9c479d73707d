"""This case checks that no power cut around zeroes and discards damages a qcow2 image.

How: clusters are written, zeroed with and without unmap, discarded, and written again. A flush
stands between freeing a cluster and the next allocation (437 has none). Each state is checked.
Related: discard-overreach, write-zeroes-noop, zero-unmap-not-durable, destage-reorder.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge


@case(
    groups="crash states qcow2 zero discard slow",
    limit_s=60,
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, programs, seed, log):
    disk = new_disk("512k", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4096")
    logged = logged_image(disk)
    with logged.opened():
        logged.write(0, 32_768)
        logged.flush()
        logged.zero(4096, 8192, unmap=True)
        logged.discard(16_384, 8192)
        logged.flush()
        logged.write(100_000, 6000)
        logged.write(200_000, 6000)
        logged.flush()
        logged.zero(0, 4096)
        logged.write(16_384, 4096)
        logged.flush()
    result = logged.explore(qcow2_judge(programs, logged.promises), seed)
    log(result)
    result.must_be_clean()
