"""This case checks that a domain reads what is on the volume, and that its writes arrive there.

How: a domain is defined, validated and started on a prefilled volume. A client reads and writes the
node on which the guest's disk is. The domain is destroyed, and the volume read from outside.
Guards: phantom-write, misdirected-write, silent-bit-flip.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import plugged


@case(groups="libvirt device", programs="qemu-system-x86_64", basis="MUST: libvirt, domain disk")
def test(disk, libvirt, nbd_io, seed):
    random = seed.stream("places")
    domain = plugged(libvirt, disk, cache="none")
    expect_equal(domain.state, "paused (user)", "virsh domstate")
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        for _ in range(64):
            length = random.choice((512, 4096, 70_144))
            io.write(random.randrange(0, disk.size - length) & -512, length)
        io.flush()
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
