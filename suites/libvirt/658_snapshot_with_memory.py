"""This case checks that a snapshot with the memory goes back to memory and data of one moment.

How: a snapshot saves the memory to a file and puts an overlay on the volume. The domain writes on
and ends. It is restored from the memory file, on the volume without the overlay.
Guards: snapshot-not-point-in-time.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import plugged


@case(
    groups="libvirt snapshot",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), snapshot-create-as", "MUST: virsh(1), restore"),
)
def test(disk, libvirt, nbd_io, scratch):
    domain = plugged(libvirt, disk)
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        io.write(1 << 20, 131_072)
    domain.end_exports()
    inactive = domain.virsh("dumpxml", "--inactive")
    frozen = disk.shadow.copy()
    domain.virsh(
        "snapshot-create-as", "--no-metadata", "--memspec", f"file={scratch}/memory",
        "--diskspec", f"vda,snapshot=external,file={scratch}/overlay",
    )  # fmt: skip
    with nbd_io(domain.export(), shadow=frozen) as io:
        io.write(2 << 20, 131_072)
        io.flush()
    domain.check(nbd_io, frozen)
    domain.virsh("destroy")
    disk.verify()
    libvirt.virsh(
        "restore", scratch / "memory", "--xml", domain.file("back.xml", inactive), "--paused"
    )
    domain.restarted()
    expect_equal(domain.node(), "libvirt-1-format", "node of the disk after virsh restore")
    domain.check(nbd_io, disk.shadow)
