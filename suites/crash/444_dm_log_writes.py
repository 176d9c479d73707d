"""This case checks that Linux's own log of its writes to the target is complete and explored.

How: ext4 over dm-log-writes over the target's disk in a guest, with a mark before and after each
sync of a file. The log, on a second disk of the target, must agree with that of QEMU's blklogwrites
below it at each mark and at its end. All its crash states are judged.
Guards: flush-noop, destage-reorder, misdirected-write, flush-not-advertised.
"""

import pytest

from oracles.crash_states.families import Bounds
from oracles.crash_states.states import CrashStates
from qbdcheck.kit import case
from qbdcheck.kit.crash.dm_log import DmLog, disagreements, marks, read_log_of_disk
from qbdcheck.kit.crash.ext4_image import make_ext4
from qbdcheck.kit.crash.ext4_judge import Ext4Judge
from qbdcheck.kit.crash.file_workload import run_file_workload
from qbdcheck.kit.crash.recorder import without_flushes

SIZE = 8 << 20
QUIET = "for i in writeback expire; do echo 0 > /proc/sys/vm/dirty_${i}_centisecs; done"
MOUNT = "-t ext4 -o commit=300,noinit_itable"  # no writes in the background


@case(
    groups="crash states guest flush slow nightly",
    requires="flush",
    programs="qemu-system-x86_64 e2fsck mke2fs",
    limit_s=240,
    basis=("MUST: fsync(2), DESCRIPTION", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, guest, qemu_img, scratch, seed, log, golden):
    disk, log_disk = new_disk(SIZE, prefill=False), new_disk("24M", prefill=False)
    make_ext4(disk, qemu_img, scratch)
    logged = logged_image(disk)
    system = guest(logged.blockdev(), log_disk)
    system.run(QUIET)
    dm = DmLog(system, *(one.path for one in system.disks))
    moments = []

    def moment():
        dm.mark(f"moment{len(moments)}")
        moments.append(logged.position)
        return len(moments) - 1

    files = run_file_workload(system, moment, 4, f"{MOUNT} {dm.path}")
    system.run("umount /mnt")
    dm.close()
    system.quit()
    of_guest, of_qemu = read_log_of_disk(log_disk, scratch / "guest.writelog"), logged.log()
    places = marks(of_guest)
    positions = [places[f"moment{number}"] for number in range(len(moments))]
    together = list(zip(positions, moments, strict=True))
    found = disagreements(of_guest, of_qemu, logged.initial, together)
    assert found == [], f"the logs of the guest and of blklogwrites disagree: {found}"
    lying = without_flushes(of_qemu)
    found = disagreements(of_guest, lying, logged.initial, together)
    assert found, "the guest's log agrees with a log without flushes"
    for one in (of_guest, of_qemu):
        image = bytearray(logged.initial)
        CrashStates(one, memoryview(image), tear=0)
        same = image == disk.read_all().tobytes()
        assert same, f"a log of {len(one)} entries, replayed, differs from the volume"
    history = files.at(positions)

    def explore(entries, **options):
        options |= {"log": entries, "acknowledged": history.acknowledged, "tear": 4096}
        options["bounds"] = Bounds(subsets=7, chance=64)
        result = logged.explore(lambda _: Ext4Judge(history), seed, within_s=40, **options)
        log(result, *result.wrong)
        return result

    explore(of_guest).must_be_clean()
    with pytest.raises(AssertionError, match=r"was durable|e2fsck ended with"):
        explore(without_flushes(of_guest), most=1).must_be_clean()
    golden(f"{len(places)} marks; without flushes: found")
