"""This case checks that a backend's error reaches fio, the kernel, QMP and the counters.

How: The next writes of a region fail with EIO, ENOSPC and EPERM under werror=report. fio reports an
error, the kernel names the sector, and BLOCK_IO_ERROR and query-blockstats count it. The rest is
verified.
Guards: async-error-ignored, transient-becomes-fatal, phantom-write.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_in
from qbdcheck.kit.guest_tools import Device

AT = 1 << 20
OPTIONS = "--filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8 --rw=randwrite"


@case(
    groups="guest guest-quick inject errors",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis="MUST: QAPI, BLOCK_IO_ERROR",
)
def test(disk, guest, fio, rules):
    system = guest(disk, device=Device(werror="report", rerror="report"))
    system.expected += ["I/O error, dev vdb", "Buffer I/O error on dev vdb"]
    run = fio(system)
    for failed, name in enumerate(("EIO", "ENOSPC", "EPERM"), 1):
        rule = {"event": "write_aio", "iotype": "write", "action": "error", "errno": name}
        before = len([line for line in system.console_lines() if "error, dev vdb" in line])
        rules.add({**rule, "once": True, "offset": f"{AT}+4K"})
        ran = run("--name=hurt", *OPTIONS.split(), "--size=2m")
        expect_equal(ran.result.error, EIO, f"{name} of the backend, the errno that fio saw")
        event = system.machine.wait_event("BLOCK_IO_ERROR")["data"]
        seen = event["operation"], event["action"]
        expect_equal(seen, ("write", "report"), f"{name}: operation, action of BLOCK_IO_ERROR")
        stats = system.stats(system.disks[0])
        expect_equal(
            stats["failed_wr_operations"], failed, f"{name}: failed writes that QEMU counted"
        )
        errors = [line for line in system.console_lines() if "error, dev vdb" in line]
        expect_equal(len(errors), before + 1, f"{name}: errors of the guest's kernel so far")
        expect_in(f"sector {AT // 512} ", errors[-1], f"{name}: the guest's kernel")
    run("--name=healed", *OPTIONS.split(), "--size=2m", "--verify=md5").must_be_clean()
