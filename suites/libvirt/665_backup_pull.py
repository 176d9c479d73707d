"""This case checks that a backup that a client pulls stays as it was while the domain writes.

How: backup-begin serves the disk over NBD. Between the parts that a client reads, the domain
overwrites all of the disk. The client must read the data of the moment at which the backup began.
Guards: phantom-write, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.domain import plugged
from qbdcheck.kit.libvirt.xml import element

STEP = 1 << 20


@case(
    groups="libvirt job backup export",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), backup-begin", "MUST: QAPI, blockdev-backup"),
)
def test(disk, libvirt, nbd_io, scratch):
    socket = scratch / "pull"
    parts = element("scratch", file=scratch / "before")
    disks = element("disk", parts, name="vda", type="file", backup="yes", exportname="pulled")
    server = element("server", transport="unix", socket=socket)
    xml = element("domainbackup", server + element("disks", disks), mode="pull")
    domain = plugged(libvirt, disk)
    domain.virsh("backup-begin", domain.file("backup.xml", xml))
    frozen = disk.shadow.copy()
    export = domain.export(server=socket)
    pulled = f"nbd+unix:///pulled?socket={socket}"
    with nbd_io(export, shadow=disk.shadow) as io, nbd_io(pulled, shadow=frozen) as backup:
        for offset in range(0, disk.size, STEP):
            backup.read(offset, STEP // 2)
            for place in range(0, disk.size, STEP):
                io.write(place + offset // STEP * 4096, 70_144)
            backup.read(offset, STEP)
        io.flush()
        for offset in range(0, disk.size, STEP):
            backup.read(offset, STEP)
    domain.end_export("vda")
    domain.virsh("domjobabort")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
