"""This case checks that a guest's writes of zeroes succeed and read back with detect-zeroes.

How: virtio-blk, virtio-scsi and nvme disks whose node has detect-zeroes=on or unmap. The guest
writes zeroes, data, and both in one request over old data. All is read back, in the guest and from
outside.
Related: async-error-ignored, write-zeroes-noop, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import Device

KIB = 1 << 10
KINDS = (("virtio-blk", "unmap"), ("virtio-blk", "on"), ("virtio-scsi", "unmap"), ("nvme", "on"))
WRITES = ((0, 64, False), (256, 4, False), (512, 128, True), (1020, 4, False))
"""Offset and length in KiB, and whether a half of the data is not zero."""


@case(
    groups="guest guest-quick device zero",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: QAPI, BlockdevDetectZeroesOptions", "MUST: virtio, Block Device"),
)
def test(new_disk, guest):
    disks = [new_disk("1M") for _ in KINDS]
    system = guest(disks[0].blockdev(discard="unmap", detect_zeroes=KINDS[0][1]))
    for disk, (kind, detect) in list(zip(disks, KINDS, strict=True))[1:]:
        system.attach(disk.blockdev(discard="unmap", detect_zeroes=detect), Device(kind))
    for disk, seen in zip(disks, system.disks, strict=True):
        for start, length, mixed in WRITES:
            data = bytearray(length * KIB)
            if mixed:
                half = len(data) // 2
                data[half:] = disk.shadow.stamped(start * KIB + half, half)
            disk.shadow.write(start * KIB, bytes(data))
            system.write_file("/tmp/data", bytes(data))
            place = f"{seen.path} bs={length}k count=1"
            wrote = system.execute(
                f"dd if=/tmp/data of={place} oflag=direct,seek_bytes seek={start * KIB}"
                f" conv=notrunc,fsync 2>&1 && dd if={place} iflag=direct,skip_bytes"
                f" skip={start * KIB} 2>/dev/null | cmp - /tmp/data 2>&1"
            )
            assert wrote.status == 0, (
                f"{seen.device.kind}, write of {length} KiB of zeroes at {start} KiB, and a read of"
                f" it: {wrote.output.strip()}"
            )
    system.quit()
    for disk in disks:
        disk.verify()
