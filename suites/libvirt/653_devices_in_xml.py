"""This case checks that what the XML says about a device reaches QEMU's device.

How: domxml-to-native on blockio, serial, wwn, error policies, queues and iothread, for virtio and
scsi disks.
Guards: option-not-passed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.native import options_of
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element

FILE = "file " + element("source", file="/images/a")
BLOCKS_4K = element("blockio", logical_block_size=4096, physical_block_size=4096)
BLOCKS_512 = element("blockio", logical_block_size=512, physical_block_size=4096)
NAMED = "<wwn>5000c50015ea71ac</wwn><vendor>QBD</vendor><product>VOLUME</product>"
DISKS = (
    ("virtio", {}, "virtio", ""),
    ("blockio 4096", {}, "virtio", BLOCKS_4K),
    ("blockio 512 on 4096", {}, "scsi", BLOCKS_512),
    ("error_policy", {"error_policy": "enospace"}, "virtio", ""),
    ("rerror_policy", {"error_policy": "stop", "rerror_policy": "report"}, "scsi", ""),
    ("queues, iothread", {"queues": 2, "iothread": 1, "queue_size": 128}, "virtio", ""),
    ("event_idx, ioeventfd", {"event_idx": "off", "ioeventfd": "on"}, "virtio", ""),
    ("serial", {}, "virtio", element("serial", "QBD-0001")),
    ("vendor, wwn", {}, "scsi", NAMED),
    ("copy_on_read", {"copy_on_read": "on"}, "virtio", ""),
    ("readonly", {}, "scsi", "<readonly/>"),
    ("shareable", {"cache": "none"}, "virtio", "<shareable/>"),
)  # fmt: skip
CONTROLLER = element("controller", type="scsi", index=0, model="virtio-scsi")


@case(
    groups="libvirt blocksize",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain blockio", "MUST: libvirt, domain driver"),
)
def test(libvirt, golden):
    for label, driver, bus, inner in DISKS:
        disk = disk_xml(FILE, "vda" if bus == "virtio" else "sda", bus, inner, **driver)
        xml = domain_xml(
            disk, emulator=libvirt.emulator, devices=CONTROLLER, inner="<iothreads>1</iothreads>"
        )
        seen = libvirt.to_native(xml).disk()
        node = "read-only " if seen.node.get("read-only") else ""
        golden(f"{label}: {node}{seen.node['driver']}, {options_of(seen.behaviour)}")
