"""This case checks that fio in a guest sees the effect of each fault of the rule language.

How: Each fault strikes one write or read of a run of its own. fio must find a damage in that block
and in no other. A mere disturbance must cause no error in fio, in the kernel or in QMP's counters.
Each rule must report that it struck once.
Guards: phantom-write, misdirected-write, silent-bit-flip, torn-write, stale-replica-after-failover.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_in

PART = 256 << 10
"""Bytes of a run. Its fault strikes in the middle."""
WRITE = {"event": "write_aio", "iotype": "write", "once": True}
READ = {"event": "read_aio", "iotype": "read", "once": True}
DAMAGES = (
    {**WRITE, "action": "corrupt", "bits": 3},
    {**WRITE, "action": "torn", "keep": "first-sectors", "sectors": 3},
    {**WRITE, "action": "misdirect", "by": 8},
    {**WRITE, "action": "drop"},
    {**READ, "action": "corrupt"},
    {**READ, "action": "stale"},
)
DISTURBS = (
    {**WRITE, "action": "delay", "milliseconds": 300},
    {**READ, "action": "delay", "milliseconds": 300, "when": "after"},
    {**WRITE, "action": "hang"},
    {**WRITE, "action": "reorder"},
    {**WRITE, "action": "duplicate"},
    {**WRITE, "action": "disconnect", "when": "before-request"},
    {**WRITE, "action": "disconnect", "when": "before-reply"},
    {**READ, "action": "disconnect", "when": "mid-reply"},
    {**READ, "action": "short"},
    {"event": "flush_to_disk", "action": "lie", "once": True},
)
BREAKS = ({**READ, "action": "garbage"},)
"""The last fault: QEMU drops a server that does not speak NBD, and does not reconnect."""
OPTIONS = (
    "--filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=1 --rw=write --size=256k"
    " --verify=md5 --fsync=16"
)
"""One request at a time: the guest and QEMU's virtio-blk merge neighbours, and a fault would strike
all of them."""


@case(
    groups="guest inject slow nightly",
    requires="nbd",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis="MUST: qbdcheck, docs/rules.md",
)
def test(disk, guest, fio, rules, link, log):
    node = disk.blockdev()
    node["file"]["reconnect-delay"] = 20
    system = guest(node)
    system.expected += ["I/O error, dev vdb", "Buffer I/O error on dev vdb"]
    for number, rule in enumerate((*DAMAGES, *DISTURBS, *BREAKS)):
        start = number * PART
        struck = start + PART // 2
        place = {"offset": f"{struck}+4K"} if "iotype" in rule else {}
        fault = rules.add({**rule, **place})
        before = system.stats(system.disks[0])
        what = f"{rule['action']} of {struck}+4096"
        options = (f"--name={rule['action']}", f"--offset={start}", *OPTIONS.split())
        load = fio(system).begin(*options)
        if rule["action"] in {"hang", "short"}:
            rules.wait_fired(fault)
            assert load.is_running, "fio ended while its request had no whole reply"
            rules.resume(fault)
            if rule["action"] == "short":
                link.cut()  # the client waits for the rest until the connection is lost
        run = load.wait()
        found = [failure.offset for failure in run.result.failures]
        log(rule, found, *run.result.summary())
        expect_equal(rules.seen(fault).fired, 1, f"{what}: how often the rule fired")
        rules.remove(fault)
        if rule in DAMAGES:
            expect_equal(found[:1], [struck], f"{what}: the first wrong block that fio found")
            # A misdirected write may have hit the block after it.
            others = set(found) - {struck, struck + 4096}
            assert not others, f"{what}: fio also found wrong blocks at {sorted(others)}"
            continue
        after = system.stats(system.disks[0])
        errors = [line for line in system.console_lines() if "error, dev vdb" in line]
        if rule in BREAKS:
            expect_equal(run.result.error, EIO, f"{what}: the errno that fio saw")
            event = system.machine.wait_event("BLOCK_IO_ERROR")["data"]
            expect_equal(event["operation"], "read", f"{what}: operation of BLOCK_IO_ERROR")
            failed = after["failed_rd_operations"] - before["failed_rd_operations"]
            assert failed > 0, f"{what}: QEMU counted no failed read"
            expect_in(f"sector {struck // 512} ", errors[0], f"{what}: the guest's kernel")
        else:
            run.must_be_clean()
            expect_equal(errors, [], f"{what}: errors of the guest's kernel")
            for counter in ("failed_rd_operations", "failed_wr_operations"):
                expect_equal(after[counter], before[counter], f"{what}: {counter}")
