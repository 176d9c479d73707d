"""This case checks that the event of a write threshold comes once, for the first write beyond it.

How: domblkthreshold sets a threshold. Writes below it, up to it and across it; then a second
threshold. Each event must name the disk, the threshold and by how much it was exceeded.
Guards: event-not-sent.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import plugged

MIB = 1 << 20


@case(
    groups="libvirt device",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), domblkthreshold", "MUST: QAPI, block-set-write-threshold"),
)
def test(disk, libvirt, nbd_io):
    domain = plugged(libvirt, disk)
    events = domain.events()
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        for round_, at in enumerate((2 * MIB, 5 * MIB), 1):
            domain.virsh("domblkthreshold", "vda", str(at))
            io.write(0, 65_536)
            io.write(at - 65_536, 65_536)
            shown = domain.stats_of("block.0.threshold")
            expect_equal(shown, str(at), "domstats after writes up to the threshold")
            io.write(at - 4096, 12_288)
            line = events.wait("block-threshold", "vda", f"{at}")
            expect_equal(line.split()[-1], "8192", f"excess in the event {line!r}")
            io.write(at + MIB, 65_536)
            expect_equal(events.count("block-threshold", "vda["), round_, "events for vda")
        io.flush()
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
