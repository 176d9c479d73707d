"""This case checks that a guest sees block sizes, serials, queues and write cache of the XML.

How: three disks of the target with other options each. The guest's kernel must report what the XML
says, and write and read each disk in blocks of the size that it has.
Guards: option-not-passed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.guest import GuestDomain
from qbdcheck.kit.libvirt.xml import disk_xml, element

DISKS = {
    "vda": (512, 512, {"cache": "none", "queues": 1}, "write back"),
    "vdb": (512, 4096, {"cache": "writethrough", "discard": "unmap"}, "write through"),
    "vdc": (4096, 4096, {"cache": "writeback", "detect_zeroes": "on"}, "write back"),
}


@case(
    groups="libvirt guest device blocksize slow nightly",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis=("MUST: libvirt, domain blockio", "MUST: virtio, Block Device"),
)
def test(new_disk, libvirt, guest):
    disks = {name: new_disk() for name in DISKS}
    parts = []
    for name, (logical, physical, driver, _) in DISKS.items():
        blocks = element("blockio", logical_block_size=logical, physical_block_size=physical)
        inner = blocks + element("serial", f"qbd-{name}")
        parts.append(disk_xml(disks[name], name, "virtio", inner, **driver))
    system = GuestDomain(libvirt, guest, *parts)
    for name, (logical, physical, _, cache) in DISKS.items():
        place = f"/sys/block/{name}"
        seen = system.run(
            f"for name in queue/logical_block_size queue/physical_block_size serial size"
            f" queue/write_cache; do echo $(cat {place}/$name); done"
        )
        size = str(disks[name].size // 512)
        wanted = [str(logical), str(physical), f"qbd-{name}", size, cache]
        expect_equal(seen.split("\n"), wanted, f"what the kernel says of /dev/{name}")
        data = disks[name].shadow.stamped(1 << 20, 1 << 18)
        system.agent.write_file("/tmp/data", bytes(data))
        system.run(f"dd if=/tmp/data of=/dev/{name} bs=4k seek=256 oflag=direct conv=fsync 2>&1")
        disks[name].shadow.write(1 << 20, data)
        if logical == 4096:
            small = f"dd if=/tmp/data of=/dev/{name} bs=512 count=1 oflag=direct 2>&1 && echo done"
            expect_equal("done" in system.run(f"{small} || true"), False, "a write of 512 bytes")
        back = system.run(
            f"dd if=/dev/{name} bs=4k skip=256 count=64 iflag=direct | cmp - /tmp/data"
        )
        expect_equal(back, "", f"comparison of what the guest reads from /dev/{name}")
    system.virsh("destroy")
    for disk in disks.values():
        disk.verify()
