"""This case checks that a guest that trims, writes and verifies reads what it wrote.

How: A mix of trims and writes with checksums in random order. Then the whole disk is discarded,
written and verified again.
Guards: discard-overreach, discard-exposes-backing.
"""

from qbdcheck.kit import case


@case(
    groups="guest discard",
    requires="discard",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: fio(1), verify", "POLICY: discard-old-or-zero"),
)
def test(new_disk, guest, fio, log):
    disk = new_disk("4M", prefill=False)
    system = guest(disk.blockdev(discard="unmap"))
    run = fio(system)
    options = "--name=trims --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=16k --iodepth=8"
    result = run(*options.split(), "--rw=randtrimwrite", "--verify=crc32c").must_be_clean()
    log(*result.summary())
    assert result.jobs[0].trim.requests, "fio rw=randtrimwrite: no request was a trim"
    assert result.jobs[0].read.requests, "fio rw=randtrimwrite: no block was read back"
    system.run("blkdiscard /dev/vdb")
    run(*options.split(), "--rw=write", "--verify=md5").must_be_clean()
    options = "--trim_percentage=20 --trim_backlog=16 --verify_backlog=16 --rw=randwrite"
    plain = "--name=backlog --filename=/dev/vdb --ioengine=psync --direct=1 --bs=16k"
    run(*plain.split(), *options.split(), "--verify=crc32c").must_be_clean()
