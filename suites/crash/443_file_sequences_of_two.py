"""This case checks that any two file operations followed by an fsync or sync survive a power cut.

How: as 442, with two operations. It takes minutes.
Guards: flush-noop, destage-reorder, torn-write, flush-not-advertised, fua-write-ack-early.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.file_sequence_runs import run_on_ext4


@case(
    groups="crash states guest flush slow disabled",
    requires="flush",
    programs="qemu-system-x86_64 e2fsck mke2fs",
    limit_s=1800,
    basis=("MUST: fsync(2), DESCRIPTION", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, guest, qemu_img, scratch, seed, log, golden):
    disk = new_disk("14M", prefill=False)
    run = run_on_ext4(disk, logged_image, guest, qemu_img, scratch, 2)
    result = run.explore(seed)
    log(result)
    result.must_be_clean()
    golden(f"{len(run.history.sequences)} sequences")
