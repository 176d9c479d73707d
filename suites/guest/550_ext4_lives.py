"""This case checks that a guest's ext4 keeps its files, and e2fsck finds no error.

How: mkfs, then files of several sizes, some renamed, some removed. Their checksums are checked
after a remount and after fstrim.
Guards: phantom-write, misdirected-write, discard-overreach, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import FileSet, LoggedVolumes


@case(
    groups="guest guest-quick",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: fsync(2), DESCRIPTION", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, target, scratch):
    logged = LoggedVolumes.of(target, scratch)
    disk = logged.new(new_disk, "32M")
    system = guest(disk.blockdev(discard="unmap"))
    with logged.checked("ext4", system.quit):
        keep_files(system)


def keep_files(system):
    """Write files, and check them after a remount and after fstrim."""
    system.run("/sbin/mke2fs -q -t ext4 /dev/vdb && mkdir -p /mnt")
    system.run("mount -o discard /dev/vdb /mnt")
    files = FileSet(system, "/mnt")
    system.run("umount /mnt && mount /dev/vdb /mnt")
    files.must_be_intact()
    system.run("/sbin/fstrim /mnt")
    files.remove("file7")
    system.run("umount /mnt")
    system.run("/sbin/e2fsck -fn /dev/vdb 2>&1")
    system.run("mount /dev/vdb /mnt")
    files.must_be_intact()
    system.run("umount /mnt")
