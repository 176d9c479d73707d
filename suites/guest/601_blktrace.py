"""This case checks that each request of fio passes a guest's block layer once, in order.

How: blktrace runs in the guest while fio writes and reads back. Each request is queued, issued and
completed once, without an error. blkparse and btt count what fio did.
Guards: async-error-ignored, phantom-write.
"""

from collections import Counter

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import dropped, parse_btt, parse_events, parse_totals

OPTIONS = (
    "--name=seen --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --size=2m --verify=md5"
)


@case(
    groups="guest slow",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: QAPI, query-blockstats", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, fio, log):
    system = guest(new_disk("2M", prefill=False))
    tracing = system.begin("mkdir -p /tmp/t && exec blktrace -d /dev/vdb -D /tmp/t -o t")
    system.run("until [ -e /tmp/t/t.blktrace.0 ]; do sleep 0.02; done", 10.0)
    result = fio(system)(*OPTIONS.split()).must_be_clean()
    system.run(f"kill -INT {tracing.pid}")
    assert not dropped(tracing.wait().output), "blktrace lost events"
    system.run("cd /tmp/t && blkparse -i t -d t.bin -o t.txt && btt -i t.bin -o out")
    text = system.read_file("/tmp/t/t.txt").decode()
    latencies = parse_btt(system.read_file("/tmp/t/out.avg").decode())
    log(*latencies.values())
    done = result.jobs[0]
    requests = done.read.requests + done.write.requests
    expect_equal(requests, 1024, "fio, reads and writes")
    totals = parse_totals(text)
    writes = totals.writes_queued, totals.writes_completed
    expect_equal(writes, (done.write.requests,) * 2, "blktrace, writes queued and completed")
    expect_equal(totals.written_bytes, done.write.bytes_done, "blktrace, bytes written")
    events = [one for one in parse_events(text) if one.process != "blktrace"]
    assert not any(one.error for one in events), "a request ended with an error"
    stages = {
        action: Counter((one.rwbs[0], one.sector) for one in events if one.action == action)
        for action in "QDC"
    }
    for action in "DC":
        assert stages[action] == stages["Q"], f"not every queued request has a {action}"
    places = range(0, 4096, 8)
    assert all(stages["Q"]["W", sector] == 1 for sector in places), "a write of fio is missing"
    # There may be more reads: a distribution's udev reads a disk that was written to.
    assert all(stages["Q"]["R", sector] for sector in places), "a read of fio is missing"
    counted = latencies["Q2C"].count
    assert counted >= requests, f"btt counted {counted} requests, fio {requests}"
    device_s, total_s = latencies["D2C"].mean_s, latencies["Q2C"].mean_s
    assert device_s <= total_s, f"btt: {device_s} s in the device, {total_s} s in all"
