"""This case checks that blockpull under load fills the overlay from the volume and changes no data.

How: the overlay has some blocks of its own. blockpull copies the rest while a client writes. Then
the chain has one layer, the domain reads all data, and the volume is as at the snapshot.
Guards: wrong-volume-or-lun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal
from qbdcheck.kit.libvirt.domain import load, plugged


@case(
    groups="libvirt job stream qcow2",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), blockpull", "MUST: QAPI, block-stream"),
)
def test(disk, libvirt, nbd_io, seed, scratch):
    domain = plugged(libvirt, disk)
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        io.write(512, 1 << 20)
        frozen = disk.shadow.copy()
        overlay = f"vda,snapshot=external,file={scratch}/overlay"
        domain.virsh("snapshot-create-as", "--disk-only", "--no-metadata", "--diskspec", overlay)
        for number in range(4):
            io.write((number << 21) + 66_048, 70_144)
        with load(io, seed, "load"):
            domain.virsh("blockpull", "vda", "--wait")
        io.flush()
    files = [file for _, file in domain.layers()]
    expect_equal(files, [f"{scratch}/overlay"], "layers of the disk after blockpull")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    expect_content(frozen, 0, disk.read_all(), "the volume after blockpull")
