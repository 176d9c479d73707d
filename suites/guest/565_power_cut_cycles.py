"""This case checks that a guest's file systems survive hundreds of power cuts in a row.

How: 120 cuts each of ext4 and xfs, of all kinds of 564 in turn, on a disk that is made only once.
It is disabled because it takes half an hour; tox's nightly runs it.
Guards: flush-noop, destage-reorder.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import SyncedFiles
from qbdcheck.kit.power_cuts import cut, ways_of

CYCLES = 120


@case(
    groups="guest crash flush slow disabled",
    programs="qemu-system-x86_64",
    limit_s=7200,
    basis="MUST: fsync(2), DESCRIPTION",
)
def test(new_disk, guest, target, seed, log):
    random = seed.stream("cuts")
    ways = ways_of(target)
    for kind, size in (("ext4", "24M"), ("xfs", "320M")):
        disk = new_disk(size, prefill=False)
        files = SyncedFiles(kind)
        system = guest(disk)
        files.make(system)
        for cycle in range(CYCLES):
            files.begin(system, random.choice((0, random.randrange(1, 60))))
            system.expected += ["vdb", "EXT4-fs error", "Aborting journal"]
            way = ways[cycle % len(ways)]
            cut(way, system, disk, random.randrange(1 << 30))
            log(f"{kind}, cut {cycle} by {way}: {len(files.synced)} files were synced")
            system = guest(disk)
            files.must_be_there(system)
        system.quit()
