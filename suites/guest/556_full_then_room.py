"""This case checks that a guest stops when the backend is full, and continues without loss.

How: One write under load fails with ENOSPC under the default policy. The machine stops, and QMP
reports nospace. After cont, fio ends without an error and all data is verified.
Guards: transient-becomes-fatal, async-error-ignored, phantom-write.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.expectations import expect_equal

OPTIONS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(
    groups="guest guest-quick inject errors",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis="MUST: qemu-system(1), werror and rerror",
)
def test(disk, guest, fio, rules, target):
    if "vhost_user" in target.capabilities:
        raise NotRun("a vhost-user disk has no error policy: QEMU does not see its errors")
    system = guest(disk)
    vm = system.machine
    rule = {"event": "write_aio", "iotype": "write", "action": "error", "errno": "ENOSPC"}
    rules.add({**rule, "offset": "2M+4K", "once": True})
    load = fio(system).begin(*OPTIONS.split())
    event = vm.wait_event("BLOCK_IO_ERROR", 60)["data"]
    policy = event["operation"], event["action"], event["nospace"]
    expect_equal(policy, ("write", "stop", True), "BLOCK_IO_ERROR: operation, action, nospace")
    vm.wait_event("STOP")
    expect_equal(vm.qmp("query-status")["status"], "io-error", "status of the machine")
    vm.qmp("cont")
    load.wait().must_be_clean()
    errors = [line for line in system.console_lines() if "error, dev" in line]
    expect_equal(errors, [], "errors of the guest's kernel")
