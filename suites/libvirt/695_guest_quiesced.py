"""This case checks that a snapshot with --quiesce leaves a clean file system on the volume.

How: a guest writes files to an ext4 on the disk. A snapshot freezes it through the agent. Seen from
outside, the volume is clean: e2fsck must find nothing to repair and no journal to replay.
Guards: snapshot-not-point-in-time.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_in
from qbdcheck.kit.libvirt.guest import GuestDomain
from qbdcheck.kit.libvirt.xml import disk_xml

LOAD = (
    "set -e; for turn in $(seq 100000); do [ -e /tmp/stop ] && exit 0;"
    " echo $turn >/mnt/file$((turn % 50)); echo $turn >/tmp/turn; done"
)


@case(
    groups="libvirt guest snapshot slow nightly",
    programs="qemu-system-x86_64 e2fsck dumpe2fs",
    limit_s=240,
    basis=("MUST: virsh(1), snapshot-create-as", "POLICY: snapshot-is-one-moment"),
)
def test(new_disk, libvirt, guest, run, scratch):
    disk = new_disk("16M", prefill=False)
    system = GuestDomain(libvirt, guest, disk_xml(disk))
    system.run("mkfs.ext4 -q /dev/vda && mkdir -p /mnt && mount /dev/vda /mnt", 120)
    load = system.begin(LOAD)
    system.wait_turn(20)
    overlay = f"vda,snapshot=external,file={scratch}/overlay"
    words = ("--disk-only", "--no-metadata", "--quiesce", "--diskspec", overlay)
    system.virsh("snapshot-create-as", *words)
    system.wait_turn(system.turn() + 20)
    system.run("touch /tmp/stop")
    assert load.wait().status == 0, "the guest's writes failed"
    system.run("umount /mnt")
    system.virsh("destroy")
    volume = scratch / "volume"
    volume.write_bytes(bytes(disk.read_all()))
    features = run(["dumpe2fs", "-h", volume]).stdout
    assert "needs_recovery" not in features, "the volume's journal must be replayed"
    done = run(["e2fsck", "-fn", volume], check=False)
    assert done.returncode == 0, f"e2fsck found errors: {done.stdout}"
    expect_in("Pass 5", done.stdout, "e2fsck of the volume")
