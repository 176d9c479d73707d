"""This case checks that data is right while a guest writes, not only at the end.

How: verify_backlog: after every 32 writes the last ones are read back while writing continues. Two
jobs use one half of the disk each.
Guards: per-client-cache-stale.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal


@case(
    groups="guest concurrent",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: fio(1), verify", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, fio, log):
    disk = new_disk("4M", prefill=False)
    options = "--filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=16 --size=2m"
    options += " --rw=randwrite --verify=crc32c --verify_backlog=32 --verify_backlog_batch=16"
    jobs = []
    for index in range(2):
        jobs += [f"--name=half{index}", *options.split(), f"--offset={2 * index}m"]
    result = fio(guest(disk))(*jobs).must_be_clean()
    log(*result.summary())
    for job in result.jobs:
        expect_equal(job.write.requests, 512, f"fio {job.name}, writes of 4 KiB")
        seen = f"fio {job.name}: {job.read.requests} reads of 4 KiB, expected at least 512"
        assert job.read.requests >= 512, seen
