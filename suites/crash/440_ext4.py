"""This case checks that no power cut damages a guest's ext4, or loses a file that was synced.

How: a small Linux guest makes, replaces and removes files on the target, each durably. In each
crash state e2fsck recovers the journal and must find nothing else to repair, and the files must be
there. Without flushes the loss must be found.
Guards: flush-noop, destage-reorder, torn-write, flush-not-advertised, fua-write-ack-early.
"""

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.crash.ext4_image import make_ext4
from qbdcheck.kit.crash.ext4_judge import Ext4Judge
from qbdcheck.kit.crash.file_workload import run_file_workload
from qbdcheck.kit.crash.recorder import without_flushes

SIZE = 8 << 20


@case(
    groups="crash states guest flush slow",
    requires="flush",
    programs="qemu-system-x86_64 e2fsck mke2fs",
    limit_s=240,
    basis=("MUST: fsync(2), DESCRIPTION", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, guest, qemu_img, scratch, seed, log, golden):
    disk = new_disk(SIZE, prefill=False)
    make_ext4(disk, qemu_img, scratch)
    logged = logged_image(disk)
    system = guest(logged.blockdev())
    history = run_file_workload(system, lambda: logged.position, 6, "-t ext4 /dev/vdb")
    system.kill()
    moments = history.acknowledged
    whole = {"acknowledged": moments, "tear": 4096}  # ext4 relies on blocks that are not torn
    result = logged.explore(lambda _: Ext4Judge(history), seed, **whole)
    log(result)
    result.must_be_clean()
    lying = without_flushes(logged.log())
    result = logged.explore(lambda _: Ext4Judge(history), seed, log=lying, most=8, **whole)
    log(result, *result.wrong)
    with pytest.raises(AssertionError, match=r"was durable|e2fsck ended with"):
        result.must_be_clean()
    golden("without flushes: found")
