"""This case checks that a failed write does what error_policy says, in events and in the device.

How: the backend fails one write of a device, once for each policy and errno. The domain must pause
or go on, libvirt must send the event, and the device must see what the policy demands.
Guards: async-error-ignored, zombie-write-after-reconnect, option-not-passed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import halted
from qbdcheck.kit.libvirt.xml import disk_xml

ACTIONS = {
    ("stop", "EIO"): "pause", ("stop", "ENOSPC"): "pause",
    ("report", "EIO"): "report", ("report", "ENOSPC"): "report",
    ("ignore", "EIO"): "none", ("ignore", "ENOSPC"): "none",
    ("enospace", "EIO"): "report", ("enospace", "ENOSPC"): "pause",
}  # fmt: skip


@case(
    groups="libvirt inject errors device slow",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain error_policy", "MUST: qemu-system(1), werror and rerror"),
)
def test(disk, libvirt, rules):
    policies = dict.fromkeys(policy for policy, _ in ACTIONS)
    for policy in policies:
        xml = disk_xml(disk, "hda", "ide", error_policy=policy)
        with halted(libvirt, xml) as (domain, ata):
            events = domain.events()
            for errno in ("EIO", "ENOSPC"):
                strike(disk, domain, ata, rules, events, policy, errno)
            ata.flush()
            domain.end()
        disk.verify()


def strike(disk, domain, ata, rules, events, policy, errno):
    what = f"error_policy={policy}, {errno}"
    rules.add({"event": "write_aio", "iotype": "write", "errno": errno, "once": True})
    data = disk.shadow.stamped(9 * 512, 512)
    seen = events.count("io-error")
    ata.start_write(9, data)
    action = ACTIONS[policy, errno]
    events.wait_count(seen + 1, "io-error")
    line = events.last("io-error")
    assert line.rstrip().split(" due to")[0].endswith(action), (
        f"{what}: expected the action {action!r}, got the event {line!r}"
    )
    if action == "pause":
        domain.wait_state("paused (I/O error)")
        assert ata.is_waiting, f"{what}: the device's command ended while the domain was paused"
        domain.virsh("resume")
    try:
        ata.wait()
    except DeviceError:
        expect_equal("error", "error" if action == "report" else "success", f"{what}: the device")
    else:
        expect_equal("success", "error" if action == "report" else "success", f"{what}: the device")
        if action == "pause":
            disk.shadow.write(9 * 512, data)
    expect_equal(domain.state.split(" ")[0], "running", f"{what}: the domain")
