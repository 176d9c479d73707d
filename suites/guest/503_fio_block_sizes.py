"""This case checks that a guest reads back blocks of 512 bytes to 1 MiB as it wrote them.

How: Random writes, each verified: first one block size after the other, then a split of sizes.
Guards: unaligned-offset-rounded, iov-offset-ignored, sector-unit-mismatch.
"""

from qbdcheck.kit import case

SIZES = ("512", "1536", "4k", "20k", "64k", "1m")
SPLIT = "--bssplit=512/20:4k/40:64k/30:256k/10"


@case(
    groups="guest blocksize slow",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis=("MUST: fio(1), verify", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, fio, log):
    disk = new_disk("6M", prefill=False)
    run = fio(guest(disk))
    options = "--name=sizes --filename=/dev/vdb --ioengine=libaio --direct=1 --iodepth=8"
    options += " --rw=randwrite --verify=crc32c"
    for size in SIZES:
        part = "256k" if size == "512" else "1536k" if size == "1536" else "4m"
        result = run(*options.split(), f"--bs={size}", f"--size={part}").must_be_clean()
        log(size, *result.summary())
        assert result.jobs[0].read.requests, f"fio, bs={size}: no block was read back"
    result = run(*options.split(), SPLIT, "--size=3m", "--blockalign=512").must_be_clean()
    log(SPLIT, *result.summary())
