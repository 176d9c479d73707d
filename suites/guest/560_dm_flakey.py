"""This case checks that errors of a layer inside the guest leave the disk below right.

How: dm-flakey over the target's disk fails all writes, and fio reports it. After the layer is
removed, the same data is verified, and none of it is from the time of the errors.
Guards: async-error-ignored, phantom-write.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

OPTIONS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(
    groups="guest inject",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis="MUST: NBD, NBD_CMD_READ",
)
def test(new_disk, guest, fio):
    disk = new_disk("4M", prefill=False)
    system = guest(disk)
    system.expected += ["error, dev dm-0", "error on dev dm-0"]
    run = fio(system)
    run(*OPTIONS.split()).must_be_clean()
    system.run("modprobe -a dm_mod dm_flakey")
    table = "0 8192 flakey /dev/vdb 0 0 60 1 error_writes"
    system.run(f"/sbin/dmsetup create --noudevsync flaky --table '{table}' && dmsetup mknodes")
    options = OPTIONS.replace("/dev/vdb", "/dev/mapper/flaky").split()
    seen = run(*options, "--randseed=7").result.error
    expect_equal(seen, EIO, "writes through dm-flakey: the errno that fio saw")
    system.run("/sbin/dmsetup remove --noudevsync flaky")
    run(*OPTIONS.split(), "--verify_only=1").must_be_clean()
