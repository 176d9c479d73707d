"""This case checks that all I/O interfaces of a guest give the same data.

How: libaio and io_uring at depths 1 to 64, psync and pvsync2, direct and buffered. mmap is left out
(docs/findings.md#fio-mmap-verify).
Guards: phantom-write, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

WAYS = (
    "--ioengine=libaio --direct=1 --iodepth=1",
    "--ioengine=libaio --direct=1 --iodepth=64",
    "--ioengine=io_uring --direct=1 --iodepth=1",
    "--ioengine=io_uring --direct=1 --iodepth=32",
    "--ioengine=psync --direct=1",
    "--ioengine=psync --direct=0 --fsync=32",
    "--ioengine=pvsync2 --direct=0 --end_fsync=1",
)


@case(
    groups="guest concurrent slow",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis=("MUST: fio(1), verify", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, fio, log):
    disk = new_disk("2M", prefill=False)
    run = fio(guest(disk))
    options = "--name=way --filename=/dev/vdb --bs=4k --rw=randwrite --verify=md5"
    for way in WAYS:
        result = run(*options.split(), *way.split()).must_be_clean()
        log(way, *result.summary())
        expect_equal(
            result.jobs[0].write.requests, disk.size // 4096, f"fio {way}, writes of 4 KiB"
        )
