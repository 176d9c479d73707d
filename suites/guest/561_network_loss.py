"""This case checks that a guest tolerates a lost network within reconnect-delay.

How: fio runs while the connection is cut several times: no error, and all data is verified. Then
the network is away for longer than the delay: no error before the delay is over, then clean errors
in the guest, in QMP and in fio. When the network is back, the data that was verified before is
still there, and new writes work.
Guards: zombie-write-after-reconnect, inflight-hang-on-disconnect, connection-slot-leak.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import Device

DELAY_S = 2
OPTIONS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(
    groups="guest network",
    requires="nbd",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis="MUST: QAPI, BlockdevOptionsNbd",
)
def test(disk, link, guest, fio):
    node = disk.blockdev()
    node["file"]["reconnect-delay"] = DELAY_S
    system = guest(node, device=Device(werror="report", rerror="report"))
    system.expected += ["error, dev vdb", "error on dev vdb"]
    run = fio(system)
    load = run.begin(*OPTIONS.split(), "--loops=3")
    for _turn in range(4):
        system.wait_writes(system.disks[0])
        link.cut()
    assert load.is_running, "the load ended too early"
    load.wait().must_be_clean()
    assert link.accepted >= 5, f"only {link.accepted} connections: the cuts hit no connection"
    errors = [line for line in system.console_lines() if "error, dev" in line]
    expect_equal(errors, [], "connections cut within reconnect-delay: errors of the guest's kernel")
    run(*OPTIONS.split(), "--verify_only=1").must_be_clean()

    elsewhere = ("--offset=4m", "--loops=50")
    load = run.begin(*OPTIONS.split(), *elsewhere)
    system.wait_writes(system.disks[0])
    link.refuse()
    link.cut()
    begun = float(system.run("cat /proc/uptime").split()[0])
    expect_equal(load.wait().result.error, EIO, "no connection: the errno that fio saw")
    errors = [line for line in system.console_lines() if "error, dev vdb" in line]
    after_s = float(errors[0].lstrip("[ ").partition("]")[0]) - begun
    assert DELAY_S - 0.5 < after_s < DELAY_S + 15, f"the first error came after {after_s:.1f} s"
    event = system.machine.wait_event("BLOCK_IO_ERROR")["data"]
    expect_equal(event["action"], "report", "action of BLOCK_IO_ERROR")
    link.allow()
    read_again = "n=0; until dd if=/dev/vdb of=/dev/null bs=4k count=1 iflag=direct; do"
    system.run(f"{read_again} n=$((n+1)); [ $n -lt 50 ] || exit 1; sleep 0.2; done 2>&1")
    run(*OPTIONS.split(), "--verify_only=1").must_be_clean()
    run(*OPTIONS.split(), "--offset=4m").must_be_clean()
