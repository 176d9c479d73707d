"""This case checks that a failed read does what rerror_policy says, and returns no wrong data.

How: the backend fails one read of a device for each policy. The domain must pause and read again
when it is resumed, or report the error; error_policy, set to the opposite, must not matter.
Guards: option-not-passed, event-not-sent.
"""

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError
from qbdcheck.kit.expectations import expect_equal, expect_failure
from qbdcheck.kit.libvirt.domain import halted
from qbdcheck.kit.libvirt.xml import disk_xml


@case(
    groups="libvirt inject errors device",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain rerror_policy", "MUST: qemu-system(1), werror and rerror"),
)
def test(disk, libvirt, rules):
    for policy, opposite in (("stop", "report"), ("report", "stop")):
        policies = {"rerror_policy": policy, "error_policy": opposite}
        with halted(libvirt, disk_xml(disk, "hda", "ide", **policies)) as (domain, ata):
            events = domain.events()
            rules.add({"event": "read_aio", "iotype": "read", "errno": "EIO", "once": True})
            ata.start_read(77)
            action = "pause" if policy == "stop" else "report"
            line = events.wait("io-error")
            assert action in line, f"rerror_policy={policy}: expected {action!r}, got {line!r}"
            if policy == "stop":
                domain.wait_state("paused (I/O error)")
                shown = domain.virsh("domblkerror").strip()
                expect_equal(shown, "hda: unspecified error", "virsh domblkerror")
                domain.virsh("resume")
                disk.judge(77 * 512, ata.finish_read())
            else:
                with expect_failure(DeviceError, "a read under rerror_policy=report"):
                    ata.wait()
            disk.judge(78 * 512, ata.read(78))
            expect_equal(domain.state.split(" ")[0], "running", "the domain after the error")
            domain.end()
    disk.verify()
