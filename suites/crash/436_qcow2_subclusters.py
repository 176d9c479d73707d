"""This case checks that no power cut damages a qcow2 image with subclusters (extended L2 entries).

How: parts of clusters are written, zeroed and discarded, so that bitmaps change in place, with all
writes logged. Each state must pass qemu-img check and show old or new sectors.
Guards: map-entry-shifted.
Related: torn-write, destage-reorder.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge


@case(
    groups="crash states qcow2 slow",
    limit_s=60,
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, programs, seed, log):
    disk = new_disk("512k", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=16384,extended_l2=on")
    logged = logged_image(disk)
    with logged.opened():
        logged.write(0, 1024)
        logged.write(5000, 2000)
        logged.flush()
        logged.zero(512, 1024, unmap=True)
        logged.write(40_000, 512)
        logged.flush()
        logged.discard(0, 16_384)
        logged.write(6000, 3000)
    result = logged.explore(qcow2_judge(programs, logged.promises), seed)
    log(result)
    result.must_be_clean()
