"""This case checks that the options of a running domain are those of its XML, in nodes and devices.

How: two disks on the target, one 4096-byte and one 512-byte, differ in all options. query-block,
query-named-block-nodes and qom-get must show each option, after the start and after a hot-plug.
Guards: option-not-passed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import Domain
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element

FIRST = (
    element("blockio", logical_block_size=4096, physical_block_size=4096)
    + element("serial", "first-4096")
    + element("iotune", element("read_iops_sec", "4000") + element("write_bytes_sec", "9999999"))
)
SECOND = (
    element("blockio", logical_block_size=512, physical_block_size=4096)
    + element("serial", "second-512")
)  # fmt: skip
DEVICES = {
    "vda": {"logical_block_size": 4096, "physical_block_size": 4096, "serial": "first-4096",
            "num-queues": 2, "werror": "stop", "rerror": "report", "write-cache": "on"},
    "vdb": {"logical_block_size": 512, "physical_block_size": 4096, "serial": "second-512",
            "num-queues": 1, "werror": "report", "rerror": "report", "write-cache": "off"},
}  # fmt: skip
NODES = {
    "vda": {"cache": {"writeback": True, "direct": True, "no-flush": False},
            "detect_zeroes": "unmap", "iops_rd": 4000, "bps_wr": 9999999, "ro": False},
    "vdb": {"cache": {"writeback": False, "direct": False, "no-flush": False},
            "detect_zeroes": "off", "iops_rd": 0, "bps_wr": 0, "ro": False},
}  # fmt: skip


@case(
    groups="libvirt blocksize flush",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain blockio", "MUST: libvirt, domain driver"),
)
def test(new_disk, libvirt, nbd_io):
    disks = {"vda": new_disk(), "vdb": new_disk()}
    xml = {
        "vda": disk_xml(disks["vda"], "vda", "virtio", FIRST, cache="none", queues=2, iothread=1,
                        error_policy="stop", rerror_policy="report", discard="unmap",
                        detect_zeroes="unmap"),
        "vdb": disk_xml(disks["vdb"], "vdb", "virtio", SECOND, cache="writethrough",
                        error_policy="report", queues=1),
    }  # fmt: skip
    threads = "<iothreads>1</iothreads>"
    for plugged in ((), ("vdb",), ("vda", "vdb")):
        started = [xml[name] for name in xml if name not in plugged]
        domain = Domain(libvirt, domain_xml(*started, emulator=libvirt.emulator, inner=threads))
        for name in plugged:
            domain.virsh("attach-device", domain.file("disk.xml", xml[name]))
        how = f"with {' and '.join(plugged)} plugged in" if plugged else "after the start"
        for name, disk in disks.items():
            for option, wanted in DEVICES[name].items():
                expect_equal(domain.device(name, option), wanted, f"{option} of {name} {how}")
            inserted = domain.inserted(name)
            seen = {option: inserted[option] for option in NODES[name]}
            expect_equal(seen, NODES[name], f"the node of {name} {how}")
            domain.check(nbd_io, disk.shadow, name)
        domain.end()
