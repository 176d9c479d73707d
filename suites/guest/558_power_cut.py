"""This case checks that what a guest's ext4 synced is there after a power cut of QEMU.

How: Three times: files are written, renamed and synced, and the number of each is reported after
its fsync. QEMU is killed. A new guest mounts the disk and finds every file, and e2fsck finds no
error.
Guards: phantom-write, map-entry-shifted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import SyncedFiles


@case(
    groups="guest crash flush slow nightly",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis="MUST: fsync(2), DESCRIPTION",
)
def test(new_disk, guest, seed):
    disk = new_disk("24M", prefill=False)
    random = seed.stream("cuts")
    files = SyncedFiles("ext4")
    system = guest(disk)
    files.make(system)
    for _cycle in range(3):
        files.begin(system, random.randrange(1, 40))
        system.kill()
        system = guest(disk)
        files.must_be_there(system)
