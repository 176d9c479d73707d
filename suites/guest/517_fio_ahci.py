"""This case checks that a SATA disk behind an AHCI controller keeps queued and discarded data.

How: Debian's full kernel boots: its cloud kernel has no ahci, and 70 MB more are downloaded once.
One disk has physical blocks of 512 bytes, the other of 4096. fio verifies both at depth 31, trims,
and verifies what was not trimmed.
Guards: phantom-write, misdirected-write, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import Device

OPTIONS = (
    "--ioengine=libaio --direct=1 --bs=4k --iodepth=31 --rw=randwrite --verify=md5 --size=1m"
    " --offset=4k"
)


@case(
    groups="guest device slow",
    programs="qemu-system-x86_64",
    limit_s=300,
    basis=("MUST: fio(1), verify", "MUST: ATA, Command set"),
)
def test(new_disk, guest, fio, log):
    plugged = [
        (new_disk("2M", prefill=False).blockdev(discard="unmap"), Device("ahci", physical=physical))
        for physical in (512, 4096)
    ]
    system = guest(plugged=plugged, full_kernel=True)
    run = fio(system)
    jobs = []
    for seen in system.disks:
        name = seen.path.removeprefix("/dev/")
        queue = f"/sys/block/{name}/queue"
        values = system.run(f"cat {queue}/physical_block_size /sys/block/{name}/device/queue_depth")
        expect_equal(
            values.split(), [str(seen.device.physical), "32"], f"{name}: block size, queue depth"
        )
        jobs += [f"--name={seen.identity}", f"--filename={seen.path}", *OPTIONS.split()]
    result = run(*jobs).must_be_clean()
    log(*result.summary())
    done = [job.write.bytes_done for job in result.jobs]
    expect_equal(done, [1 << 20] * 2, "fio, bytes written to each disk")
    for seen in system.disks:
        system.run(f"blkdiscard -o 1052672 -l 65536 {seen.path}")  # directly after them
    run(*jobs, "--verify_only=1").must_be_clean()
