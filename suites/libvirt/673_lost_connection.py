"""This case checks that a domain pauses when it loses its backend, and continues with no loss.

How: the backend closes the connection within a write of a device, before and after it is carried
out. The domain must pause with an I/O error, and the write must arrive when it is resumed.
Guards: close-drops-dirty, option-not-passed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.domain import halted
from qbdcheck.kit.libvirt.xml import disk_xml


@case(
    groups="libvirt inject errors device",
    programs="qemu-system-x86_64",
    requires="nbd",
    basis=("MUST: libvirt, domain error_policy", "MUST: qemu-system(1), werror and rerror"),
)
def test(disk, libvirt, rules):
    with halted(libvirt, disk_xml(disk, "hda", "ide", error_policy="stop")) as (domain, ata):
        for number, when in enumerate(("before-request", "before-reply", "mid-reply")):
            rules.add({"event": "write_aio", "action": "disconnect", "when": when, "once": True})
            data = disk.shadow.stamped(number << 20, 512)
            ata.start_write(number << 11, data)
            domain.wait_state("paused (I/O error)")
            assert ata.is_waiting, "the device's command ended while the domain was paused"
            domain.virsh("resume")
            ata.wait()
            disk.shadow.write(number << 20, data)
            disk.judge(number << 20, ata.read(number << 11))
        ata.flush()
    disk.verify()
