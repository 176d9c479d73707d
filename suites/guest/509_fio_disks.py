"""This case checks that several disks under load at once do not get each other's data.

How: Three disks on three volumes, with one job for each, all at once. Then all disks are read once
more.
Guards: cross-connection-state, misdirected-write, extent-boundary-misroute.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

OPTIONS = "--ioengine=libaio --direct=1 --bs=4k --iodepth=8 --rw=randwrite --verify=md5"


@case(
    groups="guest concurrent",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: fio(1), verify", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, fio, log):
    disks = [new_disk("2M", prefill=False) for _ in range(3)]
    system = guest(*disks)
    run = fio(system)
    jobs = []
    for disk in system.disks:
        jobs += [f"--name={disk.identity}", f"--filename={disk.path}", *OPTIONS.split()]
    result = run(*jobs, "--randrepeat=1").must_be_clean()
    log(*result.summary())
    expect_equal(
        len({disk.path for disk in system.disks}), 3, "different names of disks in the guest"
    )
    expect_equal(len(result.jobs), 3, "jobs that fio reports")
    again = run(*jobs, "--randrepeat=1", "--verify_only=1").must_be_clean()
    expect_equal([job.read.requests for job in again.jobs], [512] * 3, "fio, reads of 4 KiB again")
