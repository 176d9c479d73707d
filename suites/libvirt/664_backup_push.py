"""This case checks that a pushed backup has the data of the moment at which it began.

How: reads of the volume are held, so that the backup copies nothing. A client overwrites blocks of
which QEMU must copy the old data first. The reads are released. The image must be as at the start.
Guards: phantom-write, misdirected-write, status-hole-over-dirty.
"""

from pathlib import Path

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_in
from qbdcheck.kit.libvirt.domain import plugged
from qbdcheck.kit.libvirt.xml import element
from qbdcheck.kit.nbd import Command

HELD = {"event": "read_aio", "iotype": "read", "action": "hang"}


@case(
    groups="libvirt job backup",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), backup-begin", "MUST: QAPI, blockdev-backup"),
)
def test(disk, libvirt, nbd_io, rules, scratch):
    image = scratch / "image"
    into = element("target", file=image) + element("driver", type="raw")
    disks = element("disks", element("disk", into, name="vda", type="file", backup="yes"))
    domain = plugged(libvirt, disk)
    backup = domain.file("backup.xml", element("domainbackup", disks, mode="push"))
    events = domain.events()
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        io.write(512, 200_192)
        frozen = disk.shadow.copy()
        rules.add(HELD)
        domain.virsh("backup-begin", backup)
        for number in range(16):
            io.send(Command.WRITE, (number << 19) + 4096, 70_144)
        expect_in("Backup", domain.virsh("domjobinfo"), "virsh domjobinfo while reads are held")
        rules.heal()
        io.finish_all()
        events.wait("job-completed")
        io.flush()
    expect_content(frozen, 0, Path(image).read_bytes(), "the image of the backup")
    domain.virsh("destroy")
    disk.verify()
