"""This case checks that each error policy has its documented effect in a guest.

How: A write and a read fail with EIO, ENOSPC, EPERM or ENOMEM under report, ignore, stop and
enospc. Checked are the status of dd, BLOCK_IO_ERROR with its nospace, io-status, and the counters,
which count what was reported to the guest. After cont the request is carried out. At the end every
sector is checked: a write that was reported or ignored is not on the disk, and one that stopped the
guest is.
Guards: async-error-ignored, transient-becomes-fatal, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.error_policies import ERRORS, POLICIES, PolicyTrial
from qbdcheck.kit.guest_tools import Device

AT = 1 << 20


@case(
    groups="guest inject errors slow",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis="MUST: qemu-system(1), werror and rerror",
)
def test(disk, guest, rules, log):
    system = guest()
    system.expected += ["I/O error, dev vd", "Buffer I/O error on dev vd", "error, dev vd"]
    node = system.machine.add(disk.blockdev(node_name="shared"))
    trial = PolicyTrial(system, disk, rules, log)
    for turn, policy in enumerate(POLICIES):
        seen = system.attach(node, Device(werror=policy, rerror=policy))
        for number, error in enumerate(ERRORS):
            for operation in ("write", "read"):
                trial.strike(seen, policy, operation, error, AT + (turn * 8 + number) * 8192)
        system.detach(seen)
    system.quit()
    disk.verify()
