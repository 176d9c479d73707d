"""This case checks that a commit of the active layer under load brings all data to the volume.

How: blocks are written above a snapshot. blockcommit --active --pivot runs under load, which goes
on after the pivot. The domain must be on the volume again, with all that was written.
Guards: phantom-write, misdirected-write, silent-bit-flip.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import load, plugged


@case(
    groups="libvirt job commit qcow2",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), blockcommit", "MUST: QAPI, block-commit"),
)
def test(disk, libvirt, nbd_io, seed, scratch):
    domain = plugged(libvirt, disk)
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        overlay = f"vda,snapshot=external,file={scratch}/overlay"
        domain.virsh("snapshot-create-as", "--disk-only", "--no-metadata", "--diskspec", overlay)
        for number in range(8):
            io.write((number << 20) + 4096, 200_704)
        with load(io, seed, "load") as written:
            domain.virsh("blockcommit", "vda", "--active", "--wait", "--pivot")
            before = written()
            while written() < before + 20:
                domain.virsh("blockjob", "vda", "--info")
        io.flush()
    expect_equal(len(domain.layers()), 1, "layers of the disk after the pivot")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
