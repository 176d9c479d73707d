"""This case checks that no power cut damages a qcow2 image or loses what a guest has flushed.

How: writes into new and old clusters with flushes between them; every write to the volume is
logged. All crash states are made and checked by qemu-img, and each sector must be old or new.
Guards: map-entry-shifted.
Related: flush-noop, destage-reorder, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge

CLUSTER = 4096


@case(
    groups="crash states qcow2 flush",
    limit_s=60,
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, programs, seed, log):
    disk = new_disk("1M", prefill=False, format="qcow2")
    disk.create_image(disk.size, f"cluster_size={CLUSTER}")
    logged = logged_image(disk)
    with logged.opened():
        for turn in range(3):
            for number in range(3):
                logged.write(turn * 300_000 + number * 9000, 5000 + number * 1000)
            logged.write(0, 1000 + turn)
            logged.flush()
    result = logged.explore(qcow2_judge(programs, logged.promises), seed)
    log(result)
    result.must_be_clean()
