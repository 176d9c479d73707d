"""This case checks that an incremental backup through a checkpoint has all changed blocks.

How: a full backup sets a checkpoint on a qcow2 image. The client changes blocks, and an incremental
backup is pushed on top of a copy of the full one. The result must be what the domain reads.
Guards: phantom-write, misdirected-write, silent-bit-flip.
"""

import itertools
from pathlib import Path

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.libvirt.domain import plugged
from qbdcheck.kit.libvirt.xml import element


@case(
    groups="libvirt job backup bitmap qcow2",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), backup-begin", "MUST: QAPI, blockdev-backup"),
)
def test(new_disk, libvirt, nbd_io, qemu_img, scratch, seed):
    disk = new_disk("4M", format="qcow2")
    random = seed.stream("places")
    domain = plugged(libvirt, disk)
    events = domain.events()
    made = []

    def back_up(since):
        image = scratch / f"image{len(made)}"
        into = element("target", file=image) + element("driver", type="qcow2")
        wanted = element("disk", into, name="vda", type="file", backup="yes")
        inner = (element("incremental", since) if since else "") + element("disks", wanted)
        backup = domain.file("backup.xml", element("domainbackup", inner, mode="push"))
        point = element("domaincheckpoint", element("name", f"point{len(made)}"))
        checkpoint = domain.file("checkpoint.xml", point)
        domain.virsh("backup-begin", backup, checkpoint)
        made.append(image)
        events.wait_count(len(made), "job-completed")

    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        back_up(None)
        for number in range(2):
            for _ in range(12):
                length = random.choice((512, 4096, 70_144))
                io.write(random.randrange(0, disk.size - length) & -512, length)
            back_up(f"point{number}")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    for lower, upper in itertools.pairwise(made):
        qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", lower, upper)
    qemu_img("convert", "-O", "raw", made[-1], scratch / "restored")
    restored = Path(scratch / "restored").read_bytes()
    expect_content(disk.shadow, 0, restored, "the full backup with both increments")
