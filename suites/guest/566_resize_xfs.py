"""This case checks that xfs grows with its disk under load, and trims what it removes.

How: Files are written while block_resize grows an image on the target. xfs_growfs runs on the
mounted file system. Files are written in the new space, removed and trimmed. Old and new files are
right, and xfs_repair finds no error.
Guards: phantom-write, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import FileSet

BEFORE, AFTER = 320 << 20, 400 << 20
LOAD = "i=0; while [ ! -e /tmp/stop ]; do head -c 100000 /dev/urandom > /mnt/load$((i%8)); sync; "
LOAD += "i=$((i+1)); done"


@case(
    groups="guest size discard",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis=("MUST: QAPI, block_resize", "POLICY: grown-part-reads-zero"),
)
def test(new_disk, guest):
    disk = new_disk(BEFORE, prefill=False, format="qcow2")
    system = guest(disk.blockdev(discard="unmap"))
    system.run("modprobe xfs; /sbin/mkfs.xfs -q -f /dev/vdb && mkdir -p /mnt", within_s=90)
    system.run("mount /dev/vdb /mnt")
    files = FileSet(system, "/mnt")
    load = system.begin(LOAD)
    system.wait_writes(system.disks[0], 20)
    system.machine.qmp("block_resize", node_name=system.disks[0].node, size=AFTER)
    system.run(
        f"n=0; until [ $(cat /sys/block/vdb/size) = {AFTER // 512} ]; do"
        " n=$((n+1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done"
    )
    system.run("xfs_growfs /mnt", within_s=90)
    system.wait_writes(system.disks[0], 20)
    system.run("touch /tmp/stop")
    expect_equal(load.wait(60).status, 0, "exit status of the load in the guest")
    free = int(system.run("stat -f -c '%b' /mnt")) * 4096
    assert free > BEFORE, "the file system did not grow"
    files.add("large", 8 << 20)
    system.run("rm /mnt/load* && sync && /sbin/fstrim -v /mnt")
    system.run("umount /mnt && /sbin/xfs_repair -n /dev/vdb 2>&1 && mount /dev/vdb /mnt", 90)
    files.must_be_intact()
    system.run("umount /mnt")
