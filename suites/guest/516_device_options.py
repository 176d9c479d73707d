"""This case checks that queues, serials, discard and write cache of a guest's disks are as set.

How: Each kind of disk has two queues, and the virtio disks an iothread, on two processors. The
guest finds each disk by its serial, checks its queues and its cache, verifies it with a job on each
processor, and discards it. After a power cut of the target, a disk without a write cache must have
all acknowledged writes, and a disk with one must have the flushed writes.
Guards: fua-write-ack-early, flush-noop, phantom-write, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import Device

DEVICES = (
    Device(iothread="io0", queues=2, write_cache=True),
    Device("virtio-scsi", iothread="io0", queues=2, write_cache=False),
    Device("nvme", queues=2),
    Device("ide", physical=512, write_cache=False),
)
STAMPED = 4 * 8192
OPTIONS = (
    "--ioengine=libaio --direct=1 --bs=4k --iodepth=8 --rw=randwrite --verify=md5 --size=1m"
    " --numjobs=2 --offset_increment=1m --group_reporting"
)
STATUS = {True: "write back", False: "write through", None: "write back"}


@case(
    groups="guest device concurrent flush slow nightly",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis="MUST: virtio, Block Device",
)
def test(new_disk, guest, fio, target, seed, log, not_run):
    disks = [new_disk("2M", prefill=False) for _ in DEVICES]
    plugged = [
        (disk.blockdev(discard="unmap"), device)
        for disk, device in zip(disks, DEVICES, strict=True)
    ]
    system = guest(plugged=plugged, cpus=2, extra=["-object", "iothread,id=io0"])
    jobs = []
    for seen in system.disks:
        jobs += [f"--name={seen.identity}", f"--filename={seen.path}", *OPTIONS.split()]
        name = seen.path.removeprefix("/dev/")
        queues = int(system.run(f"ls /sys/block/{name}/mq | wc -l"))
        expect_equal(queues, seen.device.queues or 1, f"queues of {seen.path}")
        cache = system.run(f"cat /sys/block/{name}/queue/write_cache").strip()
        expect_equal(cache, STATUS[seen.device.write_cache], f"write cache of {seen.path}")
    result = fio(system)(*jobs).must_be_clean()
    log(*result.summary())
    done = sum(job.write.bytes_done for job in result.jobs)
    expect_equal(done, len(DEVICES) * disks[0].size, "fio, bytes written to all disks")
    for seen in system.disks:
        first = f"dd if={seen.path} bs=4k count=257 iflag=direct 2>/dev/null | sha256sum"
        before = system.run(first)
        system.run(f"blkdiscard -o 1052672 -l 65536 {seen.path}")
        if seen.device.kind in {
            "virtio-scsi",
            "ide",
        }:  # QEMU 7.2 does not count discards of the others
            expect_equal(system.stats(seen)["unmap_operations"], 1, f"discards of {seen.path}")
        assert system.run(first) == before, f"{seen.path}: the discard went beyond its range"
    if not {"flush", "crash"} <= target.capabilities:
        not_run("the target's write cache: the target lacks flush or crash")
        return
    for disk, seen in zip(disks, system.disks, strict=True):
        for block in range(STAMPED // 8192):
            data = disk.shadow.stamped(block * 8192, 8192)
            disk.shadow.write(block * 8192, data)
            system.write_file("/tmp/data", bytes(data))
            flush = "conv=notrunc" if seen.device.write_cache is False else "conv=notrunc,fsync"
            dd = f"dd if=/tmp/data of={seen.path} bs=8k seek={block} oflag=direct {flush}"
            system.run(f"{dd} 2>&1")
    system.kill()
    for disk in disks:
        disk.shadow.flush()
        disk.backend.crash(seed=seed)
        disk.verify(0, STAMPED)
