"""This case checks that an ide disk, and a virtio-blk disk in an iothread, keep data.

How: A guest with two processors boots with both disks; the second has two queues. fio verifies both
at the same time.
Guards: phantom-write, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import Device

OPTIONS = "--ioengine=libaio --direct=1 --bs=4k --iodepth=16 --rw=randwrite --verify=md5"


@case(
    groups="guest device concurrent slow",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis=("MUST: fio(1), verify", "MUST: ATA, Command set"),
)
def test(new_disk, guest, fio, log):
    first, second = new_disk("2M", prefill=False), new_disk("4M", prefill=False)
    plugged = [
        (first.blockdev(), Device("ide", physical=512)),
        (second.blockdev(), Device(iothread="io0", queues=2)),
    ]
    extra = ["-object", "iothread,id=io0"]
    system = guest(plugged=plugged, cpus=2, extra=extra)
    jobs = []
    for disk in system.disks:
        jobs += [f"--name={disk.identity}", f"--filename={disk.path}", *OPTIONS.split()]
    result = fio(system)(*jobs).must_be_clean()
    log(*result.summary())
    done = [job.write.bytes_done for job in result.jobs]
    expect_equal(done, [2 << 20, 4 << 20], "fio, bytes written to the ide and the virtio-blk disk")
