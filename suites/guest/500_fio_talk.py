"""This case checks that the fio command of the QEMU talk verifies the whole disk in a guest.

How: fio-4k, a randwrite over /dev/vdb with md5 through libaio at depth 16, with the talk's own
options. Every block is written once and read back.
Guards: phantom-write, misdirected-write, torn-write, silent-bit-flip.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

OPTIONS = (
    "--name=fio-4k --filename=/dev/vdb --ioengine=libaio --runtime=1h --direct=1 --bs=4k"
    " --iodepth=16 --numjobs=1 --rw=randwrite --verify=md5"
)


@case(
    groups="guest guest-quick",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: fio(1), verify", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, fio, log):
    disk = new_disk("4M", prefill=False)
    system = guest(disk)
    expect_equal(system.disks[0].path, "/dev/vdb", "the disk's name in the guest")
    result = fio(system)(*OPTIONS.split()).must_be_clean()
    log(*result.summary())
    (job,) = result.jobs
    requests = job.write.requests, job.read.requests
    expect_equal(requests, (disk.size // 4096,) * 2, "fio, writes and reads of 4 KiB")
    expect_equal(job.write.bytes_done, disk.size, "fio, bytes written")
