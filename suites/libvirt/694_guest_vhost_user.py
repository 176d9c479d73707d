"""This case checks that a disk of the type vhostuser keeps a guest's data on the target.

How: qemu-storage-daemon exports the target as vhost-user-blk. The domain shares its memory. Stamps
that the guest writes are read back by the guest, and from outside after the end of the domain.
Guards: phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.guest import GuestDomain
from qbdcheck.kit.libvirt.xml import disk_xml, element

SHARED = element("memoryBacking", element("source", type="memfd") + '<access mode="shared"/>')


@case(
    groups="libvirt guest device slow nightly",
    programs="qemu-system-x86_64 qemu-storage-daemon",
    limit_s=240,
    basis=("MUST: libvirt, domain source", "MUST: QEMU, interop/vhost-user"),
)
def test(disk, libvirt, guest, storage_daemon, scratch):
    daemon = storage_daemon()
    daemon.add({"node-name": "target", **disk.blockdev()})
    socket = scratch / "vhost.sock"
    address = {"type": "unix", "path": str(socket)}
    export = {"type": "vhost-user-blk", "id": "vhost", "node-name": "target", "addr": address}
    daemon.execute("block-export-add", {**export, "writable": True})
    source = "vhostuser " + element("source", type="unix", path=socket)
    system = GuestDomain(libvirt, guest, disk_xml(source), inner=SHARED)
    seen = int(system.run("blockdev --getsize64 /dev/vda"))
    expect_equal(seen, disk.size, "size of /dev/vda in bytes")
    for place in (0, 3, 7):
        data = disk.shadow.stamped(place << 20, 1 << 18)
        system.agent.write_file("/tmp/data", bytes(data))
        options = f"of=/dev/vda bs=64k seek={place << 4} oflag=direct conv=notrunc,fsync"
        system.run(f"dd if=/tmp/data {options} 2>&1")
        disk.shadow.write(place << 20, data)
        system.run(
            f"dd if=/dev/vda bs=64k skip={place << 4} count=4 iflag=direct | cmp - /tmp/data"
        )
    system.virsh("destroy")
    daemon.close()
    disk.verify()
