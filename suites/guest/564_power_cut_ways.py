"""This case checks that what a guest synced is there after every kind of power cut.

How: The steps of 558 on ext4 and xfs. The power cut is QMP's quit, a power cut of the backend that
drops what was not flushed, under load and right after a sync, or SIGKILL of the backend.
Guards: flush-noop, destage-reorder.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import SyncedFiles
from qbdcheck.kit.power_cuts import cut, ways_of


@case(
    groups="guest crash flush slow nightly",
    programs="qemu-system-x86_64",
    limit_s=300,
    basis="MUST: fsync(2), DESCRIPTION",
)
def test(new_disk, guest, target, seed, log, not_run):
    random = seed.stream("cuts")
    ways = ways_of(target)
    if not {"crash", "backend"} & set(ways):
        not_run("the target's own power cut: the target has neither crash nor kill")
    for kind, size in (("ext4", "24M"), ("xfs", "320M")):
        disk = new_disk(size, prefill=False)
        files = SyncedFiles(kind)
        system = guest(disk)
        files.make(system)
        for way, more in (*((way, random.randrange(1, 40)) for way in ways[1:]), (ways[-1], 0)):
            files.begin(system, more)
            system.expected += ["vdb", "EXT4-fs error", "Aborting journal"]
            cut(way, system, disk, random.randrange(1 << 30))
            log(f"{kind}, {way}: {len(files.synced)} files were synced")
            system = guest(disk)
            files.must_be_there(system)
        system.quit()
