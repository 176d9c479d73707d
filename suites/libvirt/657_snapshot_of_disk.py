"""This case checks that an external snapshot freezes the volume, and the overlay has what follows.

How: a snapshot is taken, blocks are written, and a second snapshot is taken under load. What the
domain reads through the chain is judged, and the volume itself must be as at the first snapshot.
Guards: snapshot-not-point-in-time.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal
from qbdcheck.kit.libvirt.domain import load, plugged


@case(
    groups="libvirt snapshot qcow2",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), snapshot-create-as", "MUST: QAPI, blockdev-snapshot"),
)
def test(disk, libvirt, nbd_io, seed, scratch):
    domain = plugged(libvirt, disk)
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        io.write(1 << 20, 65_536)
        frozen = disk.shadow.copy()
        for number in range(2):
            with load(io, seed, f"load{number}"):
                overlay = f"vda,snapshot=external,file={scratch}/overlay{number}"
                words = ("--disk-only", "--no-metadata", "--diskspec", overlay)
                if number:
                    domain.virsh("snapshot-create-as", *words)
            if not number:
                frozen = disk.shadow.copy()
                domain.virsh("snapshot-create-as", *words)
        io.flush()
    overlays = [file for _, file in domain.layers()][:2]
    expect_equal(overlays, [f"{scratch}/overlay1", f"{scratch}/overlay0"], "overlays of vda")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    expect_content(frozen, 0, disk.read_all(), "the volume below the snapshot")
