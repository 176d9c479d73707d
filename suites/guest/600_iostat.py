"""This case checks that a guest's kernel, QEMU and fio count the same requests.

How: iostat runs in the guest while fio writes. Its records, the counters of /sys/block, query-
blockstats and fio's own numbers are compared.
Guards: phantom-write, async-error-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import parse_iostat

OPTIONS = (
    "--name=seen --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=16"
    " --rw=randwrite --size=4m --loops=4 --verify=md5"
)


@case(
    groups="guest slow",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis="MUST: QAPI, query-blockstats",
)
def test(new_disk, guest, fio, log):
    system = guest(new_disk("4M", prefill=False))
    before = system.run("cat /sys/block/vdb/stat").split()
    counted = system.stats(system.disks[0])["wr_operations"]
    iostat = system.begin("iostat -o JSON -dxy 1 4 vdb")
    result = fio(system)(*OPTIONS.split()).must_be_clean()
    records = parse_iostat(iostat.wait().output)
    after = system.run("cat /sys/block/vdb/stat").split()
    log(*result.summary(), *records)
    requests = result.jobs[0].write.requests
    expect_equal(requests, 4096, "fio, writes")
    written = (int(after[6]) - int(before[6])) * 512
    assert written == result.jobs[0].write.bytes_done, "the guest's kernel counted other writes"
    done = system.stats(system.disks[0])["wr_operations"] - counted
    assert done == int(after[4]) - int(before[4]), "QEMU and the guest's kernel disagree"
    expect_equal({record.disk for record in records}, {"vdb"}, "disks that iostat reports")
    seen = sum(record.write_bytes_per_s * record.interval_s for record in records)
    assert 0 < seen <= written * 1.1, f"iostat saw {seen:.0f} bytes, the kernel {written}"
