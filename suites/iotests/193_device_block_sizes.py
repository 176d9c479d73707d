"""This case checks that QEMU's devices with blocks of 512 and 4096 bytes can use the volume.

How: without a guest, virtio-blk, scsi-hd and nvme are plugged with logical/physical blocks of
512/512, 512/4096 and 4096/4096. They must report these sizes, and are unplugged.
Guards: config-byteswapped.
Related: sector-unit-mismatch.
"""

from qbdcheck.kit import case

DEVICES = ("virtio-blk-pci", "scsi-hd", "nvme")
SIZES = ((512, 512), (512, 4096), (4096, 4096))


@case(
    groups="blocksize reading",
    limit_s=30,
    basis=("MUST: NBD, Block size constraints", "MUST: virtio, Block Device"),
)
def test(disk, machine):
    with machine("-device", "virtio-scsi-pci,id=scsi0", kind="pc") as vm:
        vm.add(disk.blockdev(node_name="disk"))
        for driver in DEVICES:
            for logical, physical in SIZES:
                device = {
                    "driver": driver,
                    "id": "d0",
                    "drive": "disk",
                    "logical_block_size": logical,
                    "physical_block_size": physical,
                }
                if driver == "scsi-hd":
                    device["bus"] = "scsi0.0"
                if driver == "nvme":
                    device["serial"] = "s0"
                vm.execute("device_add", device)
                for key in ("logical_block_size", "physical_block_size"):
                    where = {"path": "/machine/peripheral/d0", "property": key}
                    seen = vm.execute("qom-get", where)
                    assert seen == device[key], (
                        f"{driver}: expected {key} {device[key]}, got {seen}"
                    )
                vm.execute("device_del", {"id": "d0"})
                vm.execute("system_reset")
                vm.wait_event("DEVICE_DELETED", device="d0")
