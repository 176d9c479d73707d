"""This case checks that every checksum of fio finds unchanged what a guest wrote.

How: Sequential, random and mixed writes, with md5, crc32c, sha256, xxhash and a pattern.
Guards: phantom-write, misdirected-write, silent-bit-flip.
"""

from qbdcheck.kit import case

JOBS = (
    ("write", "--verify=crc32c"),
    ("randwrite", "--verify=sha256"),
    ("randrw", "--verify=xxhash"),
    ("rw", "--verify=md5"),
    ("randwrite", "--verify=pattern", "--verify_pattern=0xdeadbeef%o"),
)


@case(
    groups="guest slow",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis=("MUST: fio(1), verify", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, fio, log):
    disk = new_disk("2M", prefill=False)
    run = fio(guest(disk))
    options = "--name=sums --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=8k --iodepth=8"
    for rw, *verify in JOBS:
        result = run(*options.split(), f"--rw={rw}", *verify).must_be_clean()
        log(rw, *verify, *result.summary())
        assert result.jobs[0].read.requests > 0, f"{rw} {verify}: nothing was verified"
