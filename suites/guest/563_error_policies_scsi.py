"""This case checks that error policies of virtio-scsi and nvme disks have their effect.

How: The steps of 557 on virtio-scsi, whose driver repeats requests that failed with EIO, so all
repetitions fail. Then nvme, which has no policy: a lasting error is reported to the guest, and a
passing one is repeated. Every sector is checked.
Guards: async-error-ignored, transient-becomes-fatal, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.error_policies import PolicyTrial
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import Device

AT = 1 << 20
TURNS = (
    ("report", "write", "EIO"),
    ("report", "write", "ENOSPC"),
    ("report", "read", "EIO"),
    ("stop", "write", "EIO"),
    ("stop", "read", "EPERM"),
    ("enospc", "write", "ENOSPC"),
    ("enospc", "write", "EIO"),
    ("ignore", "write", "ENOMEM"),
)
WRITE = {"event": "write_aio", "iotype": "write", "action": "error", "errno": "EIO"}


@case(
    groups="guest inject errors slow",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis="MUST: qemu-system(1), werror and rerror",
)
def test(disk, guest, rules, log):
    system = guest()
    system.expected += ["error, dev sd", "error on dev sd", "error, dev nvme", "error on dev nvme"]
    node = system.machine.add(disk.blockdev(node_name="shared"))
    trial = PolicyTrial(system, disk, rules, log)
    for number, (policy, operation, error) in enumerate(TURNS):
        seen = system.attach(node, Device("virtio-scsi", werror=policy, rerror=policy))
        trial.strike(seen, policy, operation, error, AT + number * 8192)
        system.detach(seen)

    seen = system.attach(node, Device("nvme"))
    for number, (lasts, wanted) in enumerate(((False, 0), (True, 1)), len(TURNS)):
        at = AT + number * 8192
        data = disk.shadow.stamped(at, 4096)
        system.write_file("/tmp/data", bytes(data))
        fault = rules.add({**WRITE, "offset": f"{at}+4K", "once": not lasts})
        ran = system.execute(f"dd if=/tmp/data of={seen.path} bs=4k seek={at // 4096} oflag=direct")
        log(lasts, ran)
        how = "fails always" if lasts else "fails once"
        expect_equal(int(ran.status != 0), wanted, f"nvme, a write that {how}: dd failed")
        assert rules.seen(fault).fired, f"nvme: no write of {at}+4096 reached the backend"
        rules.remove(fault)
        if not wanted:
            disk.shadow.write(at, data)
    system.quit()
    disk.verify()
