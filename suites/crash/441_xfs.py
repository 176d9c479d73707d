"""This case checks that no power cut damages a guest's xfs, or loses a file that was synced.

How: a guest makes, replaces and removes files on the target, each durably. As many crash states as
the time allows are mounted by a guest, whose kernel recovers the log. Files must be there, and
xfs_repair must find nothing. Without flushes the loss must be found.
Guards: flush-noop, destage-reorder, torn-write, flush-not-advertised, fua-write-ack-early.
"""

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.crash.file_workload import run_file_workload
from qbdcheck.kit.crash.recorder import without_flushes
from qbdcheck.kit.crash.xfs_judge import XfsJudge

SIZE = 32 << 20
MKFS = "mkfs.xfs -q -f --unsupported -s size=4096 -d agcount=2 /dev/vdb"  # below 300 MiB
LOOK_S = 20


@case(
    groups="crash states guest flush slow nightly",
    requires="flush",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis=("MUST: fsync(2), DESCRIPTION", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, guest, seed, log, golden):
    disk = new_disk(SIZE, prefill=False)
    system = guest(disk)
    system.run(f"{MKFS} && sync")
    system.quit()
    logged = logged_image(disk)
    system = guest(logged.blockdev())
    history = run_file_workload(system, lambda: logged.position, 8, "-t xfs /dev/vdb")
    system.kill()

    def explore(within_s, **options):
        result = logged.explore(
            lambda where: XfsJudge(where, guest.of_worker, history),
            seed,
            acknowledged=history.acknowledged,
            tear=4096,  # xfs relies on sectors of this size that are not torn
            within_s=within_s,
            **options,
        )
        log(result, *result.wrong)
        return result

    explore(LOOK_S).must_be_clean()
    lying = explore(LOOK_S, log=without_flushes(logged.log()), most=1)
    with pytest.raises(AssertionError, match=r"was durable|cannot be mounted|xfs_repair"):
        lying.must_be_clean()
    golden("without flushes: found")
