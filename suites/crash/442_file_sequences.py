"""This case checks that each file operation followed by an fsync or sync survives any power cut.

How: all sequences of one operation (create, write, append, overwrite, truncate, punch, fallocate,
rename, link, unlink, mkdir) and a persistence point, in a guest on ext4 on the target. In each
crash state the journal recovers, persisted files are there, and others are as at some step.
Guards: flush-noop, destage-reorder, torn-write, flush-not-advertised, fua-write-ack-early.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.file_sequence_runs import run_on_ext4
from qbdcheck.kit.crash.recorder import without_flushes


@case(
    groups="crash states guest flush slow",
    requires="flush",
    programs="qemu-system-x86_64 e2fsck mke2fs",
    limit_s=300,
    basis=("MUST: fsync(2), DESCRIPTION", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, guest, qemu_img, scratch, seed, log, golden):
    disk = new_disk("7M", prefill=False)
    run = run_on_ext4(disk, logged_image, guest, qemu_img, scratch, 1)
    result = run.explore(seed)
    log(result)
    result.must_be_clean()
    lying = run.explore(seed, log=without_flushes(run.log), most=1)
    log(lying, *lying.wrong)
    golden(f"{len(run.history.sequences)} sequences; without flushes found: {bool(lying.wrong)}")
