"""This case checks that a guest sees its disk grow, and a file system grows with it.

How: block_resize grows an image on the target. The kernel is notified, resize2fs runs on the
mounted file system, and old and new files are right.
Guards: resize-not-notified, grow-exposes-old-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import FileSet


@case(
    groups="guest size",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: QAPI, block_resize", "POLICY: grown-part-reads-zero"),
)
def test(new_disk, guest):
    disk = new_disk("16M", prefill=False, format="qcow2")
    system = guest(disk)
    system.run("/sbin/mke2fs -q -t ext4 /dev/vdb && mkdir -p /mnt && mount /dev/vdb /mnt")
    files = FileSet(system, "/mnt")
    node = system.disks[0].node
    system.machine.qmp("block_resize", node_name=node, size=24 << 20)
    sectors = (24 << 20) // 512
    system.run(
        f"n=0; until [ $(cat /sys/block/vdb/size) = {sectors} ]; do"
        " n=$((n+1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done"
    )
    system.run("/sbin/resize2fs /dev/vdb 2>&1")
    files.add("large", 16 << 20)
    system.run("umount /mnt && /sbin/e2fsck -fn /dev/vdb 2>&1 && mount /dev/vdb /mnt")
    files.must_be_intact()
    system.run("umount /mnt")
