"""This case checks that libvirt sees a killed QEMU, and that all flushed data is there afterwards.

How: a client writes through the domain, flushes and writes on; QEMU gets SIGKILL with requests in
flight. The domain must be `crashed`, and a new start must read old or new data, never a third.
Guards: phantom-write, misdirected-write, event-not-sent.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.domain import plugged
from qbdcheck.kit.nbd import Command


@case(
    groups="libvirt crash flush",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain disk", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(disk, libvirt, nbd_io):
    domain = plugged(libvirt, disk)
    events = domain.events()
    for round_ in range(2):
        with nbd_io(domain.export(), shadow=disk.shadow) as io:
            for number in range(8):
                io.write((number << 20) + (round_ << 17), 70_144)
            io.flush()
            for number in range(8):
                io.send(Command.WRITE, (number << 20) + (1 << 19), 70_144)
            domain.kill()
        domain.wait_state("shut off (crashed)")
        events.wait_count(round_ + 1, "lifecycle", "Stopped Failed")
        domain.start()
        domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
