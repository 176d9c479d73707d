"""This case checks that virtio-blk, virtio-scsi and nvme disks of all block sizes keep data.

How: Each kind of device is plugged in with each pair of logical and physical block sizes, and
verified. The guest must see the block sizes that the device has.
Guards: sector-unit-mismatch, unaligned-offset-rounded, min-block-underadvertised.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import Device

BLOCKS = ((512, 512), (512, 4096), (4096, 4096))


@case(
    groups="guest device blocksize slow nightly",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis=("MUST: fio(1), verify", "MUST: virtio, Block Device"),
)
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
            sizes = [int(size) for size in seen.split()]
            expect_equal(sizes[0], logical, f"{disk.path} ({kind}), logical block size in bytes")
            if kind != "nvme":  # nvme reports its logical block size as the physical one
                expect_equal(
                    sizes[1], physical, f"{disk.path} ({kind}), physical block size in bytes"
                )
            options = f"--name=dev --filename={disk.path} --ioengine=libaio --direct=1 --bs=4k"
            options += " --iodepth=16 --rw=randwrite --verify=md5"
            result = run(*options.split()).must_be_clean()
            log(kind, logical, physical, *result.summary())
            system.detach(disk)
