"""This case checks that each error policy does with each error what it says, as a guest sees it.

How: a write and a read of one sector fail with EIO, ENOSPC, EPERM or ENOMEM under report, ignore
and stop: the status of dd, the event, the counters, which count what the guest was told; then the
disk without errors.
Guards: async-error-ignored.
"""

from qbdcheck import case
from qbdcheck.guest.devices import Device

AT = 1 << 20
COMMANDS = {
    "write": "dd if=/dev/zero of={0} bs=4k seek=256 count=1 oflag=direct",
    "read": "dd if={0} of=/dev/null bs=4k skip=256 count=1 iflag=direct",
}


@case(groups="guest inject errors slow", programs="qemu-system-x86_64", limit_s=240)
def test(disk, guest, rules):
    system = guest()
    system.expected += ["I/O error, dev", "Buffer I/O error on dev"]
    vm = system.machine
    node = vm.add(disk.blockdev(node_name="shared"))
    for policy in ("report", "ignore", "stop"):
        device = system.attach(node, Device(werror=policy, rerror=policy))
        failed = {"write": 0, "read": 0}
        for name in ("EIO", "ENOSPC", "EPERM", "ENOMEM"):
            for operation, command in COMMANDS.items():
                what = f"{policy}, {name}, {operation}"
                rule = {"event": f"{operation}_aio", "iotype": operation, "once": True}
                rules.add({**rule, "action": "error", "errno": name, "offset": f"{AT}+4K"})
                running = system.begin(command.format(device.path))
                event = vm.wait_event("BLOCK_IO_ERROR")["data"]
                assert (event["operation"], event["action"]) == (operation, policy), what
                failed[operation] += policy == "report"
                if policy == "stop":
                    vm.wait_event("STOP")
                    vm.qmp("cont")
                ran = running.wait()
                assert (ran.status != 0) == (policy == "report"), (what, ran)
                stats = system.stats(device)
                seen = stats["failed_wr_operations"], stats["failed_rd_operations"]
                assert seen == (failed["write"], failed["read"]), (what, stats)
        system.run(COMMANDS["read"].format(device.path) + " 2>&1")
        system.detach(device)
