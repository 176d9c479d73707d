"""This case checks that each file operation with an fsync or sync after it survives a cut on xfs.

How: as 442, on xfs: each state is mounted by a guest, so only the likeliest are, for a minute;
the report tells the share.
Guards: flush-noop, destage-reorder, torn-write, flush-not-advertised, fua-write-ack-early.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.file_sequence_runs import run_on_xfs
from qbdcheck.kit.crash.recorder import without_flushes

LOOK_S = 60


@case(
    groups="crash states guest flush slow",
    requires="flush",
    programs="qemu-system-x86_64",
    limit_s=300,
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
