"""This case checks that virtio-blk, virtio-scsi and nvme disks of all block sizes keep data.

How: each kind with each pair of logical and physical blocks is plugged in and verified; the guest
sees the block sizes that the device was given.
Guards: sector-unit-mismatch, unaligned-offset-rounded, min-block-underadvertised.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import Device

BLOCKS = ((512, 512), (512, 4096), (4096, 4096))


@case(groups="guest device blocksize slow", programs="qemu-system-x86_64", limit_s=240)
def test(new_disk, guest, fio, log):
    system = guest()
    run = fio(system)
    for kind in ("virtio-blk", "virtio-scsi", "nvme"):
        for logical, physical in BLOCKS:
            device = Device(kind, logical=logical, physical=physical)
            disk = system.attach(new_disk("2M", prefill=False).blockdev(), device)
            name = disk.path.removeprefix("/dev/")
            queue = f"/sys/block/{name}/queue"
            seen = system.run(f"cat {queue}/logical_block_size {queue}/physical_block_size")
            told = [int(word) for word in seen.split()]
            assert told[0] == logical, (device, told)
            if kind != "nvme":  # which tells its logical blocks as physical ones
                assert told[1] == physical, (device, told)
            words = f"--name=dev --filename={disk.path} --ioengine=libaio --direct=1 --bs=4k"
            words += " --iodepth=16 --rw=randwrite --verify=md5"
            result = run(*words.split()).must_be_clean()
            log(kind, logical, physical, *result.summary())
            system.detach(disk)
