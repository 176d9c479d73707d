"""This case checks that a device gets the block sizes that the driver reports.

How: devices without block size properties are plugged onto volumes with a minimum request of
1 byte and of 4096 bytes. QEMU asks bdrv_probe_blocksizes. A guest must see the smallest request as
logical blocks, and the preferred request as physical blocks.
Guards: config-byteswapped, min-block-underadvertised.
"""

from qbdcheck.kit import case

DEVICES = ("virtio-blk-pci", "scsi-hd")


@case(
    groups="blocksize device",
    requires="own_driver min_block",
    limit_s=30,
    basis="POLICY: block-sizes-reach-the-guest",
)
def test(new_disk, machine, log):
    small = new_disk("1M", prefill=False)
    large = new_disk("1M", prefill=False, min_block=4096, preferred_block=16384)
    expected = {small: (512, None), large: (4096, 16384)}
    with machine("-device", "virtio-scsi-pci,id=scsi0", kind="pc") as vm:
        for number, (disk, (logical, physical)) in enumerate(expected.items()):
            node = vm.add(disk.blockdev(node_name=f"disk{number}"))
            for kind in DEVICES:
                device = {"driver": kind, "id": "d0", "drive": node}
                if kind == "scsi-hd":
                    device["bus"] = "scsi0.0"
                vm.execute("device_add", device)
                seen = [
                    vm.execute("qom-get", {"path": "/machine/peripheral/d0", "property": key})
                    for key in ("logical_block_size", "physical_block_size")
                ]
                log(kind, *seen)
                assert seen[0] == logical, f"{kind}: logical blocks of {seen[0]}, not {logical}"
                assert seen[1] >= seen[0], f"{kind}: physical {seen[1]} below logical {seen[0]}"
                assert physical in (None, seen[1]), (
                    f"{kind}: physical blocks of {seen[1]}, not the preferred {physical}"
                )
                vm.execute("device_del", {"id": "d0"})
                vm.execute("system_reset")
                vm.wait_event("DEVICE_DELETED", device="d0")
