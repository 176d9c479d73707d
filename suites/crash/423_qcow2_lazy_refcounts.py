"""This case checks that a qcow2 image with lazy refcounts can be repaired after any power cut.

How: as 422, but refcounts are only right when the image is closed. Each state is repaired as QEMU
does when it opens the image, checked again, and each sector must be old or new.
Related: flush-noop, destage-reorder, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge


@case(
    groups="crash states qcow2 flush slow",
    limit_s=60,
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, programs, seed, log):
    disk = new_disk("1M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4096,lazy_refcounts=on")
    logged = logged_image(disk)
    with logged.opened():
        for turn in range(2):
            for number in range(3):
                logged.write(turn * 200_000 + number * 9000, 5000)
            logged.flush()
        logged.write(100, 600)
    result = logged.explore(qcow2_judge(programs, logged.promises, repairs=True), seed)
    log(result)
    result.must_be_clean()
