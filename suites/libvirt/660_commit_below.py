"""This case checks that a commit below the active layer keeps the data of every layer.

How: the chain is volume, first and second overlay, each with its own writes. The first overlay is
committed to the volume under load. The volume must be as at the second snapshot.
Guards: status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal
from qbdcheck.kit.libvirt.domain import load, plugged


@case(
    groups="libvirt job commit qcow2",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), blockcommit", "MUST: QAPI, block-commit"),
)
def test(disk, libvirt, nbd_io, seed, scratch):
    domain = plugged(libvirt, disk)
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        for number in range(2):
            overlay = f"vda,snapshot=external,file={scratch}/overlay{number}"
            domain.virsh(
                "snapshot-create-as", "--disk-only", "--no-metadata", "--diskspec", overlay
            )
            frozen = None if number == 0 else disk.shadow.copy()
            for place in range(4):
                io.write(((place + 4 * number) << 20) + 512, 131_584)
        with load(io, seed, "load"):
            _, (top, _), (base, _) = domain.layers()
            domain.virsh("blockcommit", "vda", "--top", top, "--base", base, "--wait")
        io.flush()
    expect_equal(len(domain.layers()), 2, "layers of the disk after the commit")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    expect_content(frozen, 0, disk.read_all(), "the volume below the second snapshot")
