"""This case checks that a guest's xfs keeps its files, and xfs_repair finds no error.

How: The steps of 550, on a thin volume of 320 MiB, about the minimum of mkfs.xfs.
Guards: phantom-write, misdirected-write, discard-overreach, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import FileSet, LoggedVolumes


@case(
    groups="guest",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: fsync(2), DESCRIPTION", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, target, scratch):
    logged = LoggedVolumes.of(target, scratch)
    disk = logged.new(new_disk, "320M")
    system = guest(disk.blockdev(discard="unmap"))
    with logged.checked("xfs", system.quit):
        keep_files(system)


def keep_files(system):
    """Write files, and check them after a remount and after fstrim."""
    system.run("modprobe xfs; /sbin/mkfs.xfs -q -f /dev/vdb && mkdir -p /mnt", within_s=90)
    system.run("mount -o discard /dev/vdb /mnt")
    files = FileSet(system, "/mnt")
    system.run("umount /mnt && mount /dev/vdb /mnt")
    files.must_be_intact()
    system.run("/sbin/fstrim /mnt")
    files.remove("file7")
    system.run("umount /mnt")
    system.run("/sbin/xfs_repair -n /dev/vdb 2>&1", within_s=90)
    system.run("mount /dev/vdb /mnt")
    files.must_be_intact()
    system.run("umount /mnt")
