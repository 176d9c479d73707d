"""This case checks that each file operation followed by an fsync or sync survives a cut on xfs.

How: as 442, on xfs. A guest must mount each state, so only the likeliest states are checked, for a
minute. The report gives their share.
Guards: flush-noop, destage-reorder, torn-write, flush-not-advertised, fua-write-ack-early.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.file_sequence_runs import run_on_xfs
from qbdcheck.kit.crash.recorder import without_flushes

LOOK_S = 60


@case(
    groups="crash states guest flush slow nightly",
    requires="flush",
    programs="qemu-system-x86_64",
    limit_s=300,
    basis=("MUST: fsync(2), DESCRIPTION", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, guest, seed, log, golden):
    disk = new_disk("33M", prefill=False)
    run = run_on_xfs(disk, logged_image, guest, 1)
    result = run.explore(seed, within_s=LOOK_S)
    log(result)
    result.must_be_clean()
    lying = run.explore(seed, log=without_flushes(run.log), most=1, within_s=LOOK_S)
    log(lying, *lying.wrong)
    golden(f"{len(run.history.sequences)} sequences; without flushes found: {bool(lying.wrong)}")
