"""This case checks that libvirt gives QEMU the right node for files, devices and vhost-user.

How: domxml-to-native on disks of the types file, block and vhostuser, with image formats, a
chain of backing files and a window of a file.
Guards: wrong-volume-or-lun, format-probe-escape.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.native import options_of
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element

FILE = "file " + element("source", file="/images/a,b.img")
BLOCK = "block " + element("source", dev="/dev/vg/lv")
VHOST = "vhostuser " + element("source", type="unix", path="/run/vhost.sock")
WINDOW = element("slices", element("slice", type="storage", offset=1048576, size=8388608))
SLICED = "file " + element("source", WINDOW, file="/images/a")
CHAIN = element(
    "backingStore",
    element("format", type="raw") + element("source", file="/images/base") + "<backingStore/>",
    type="file",
)


@case(groups="libvirt names", programs="qemu-system-x86_64", basis="MUST: libvirt, domain source")
def test(libvirt, golden):
    def native(disk, inner=""):
        xml = domain_xml(disk, emulator=libvirt.emulator, inner=inner)
        return libvirt.to_native(xml)

    for label, source, image_format, inner in (
        ("file, raw", FILE, "raw", ""),
        ("file, qcow2", FILE, "qcow2", "<backingStore/>"),
        ("file, qcow2 on raw", FILE, "qcow2", CHAIN),
        ("file, window", SLICED, "raw", ""),
        ("block", BLOCK, "raw", ""),
    ):
        seen = native(disk_xml(source, inner=inner, format=image_format))
        for node in seen.nodes:
            name = node["node-name"].partition("-")[2]
            golden(f"{label}: {name}: {options_of(node)}")
    memory = element(
        "memoryBacking", element("source", type="memfd") + element("access", mode="shared")
    )
    seen = native(disk_xml(VHOST, queues=2), memory)
    chardev = next(word for word in seen.words if "/run/vhost.sock" in word)
    golden(f"vhostuser: chardev {chardev}")
    golden(f"vhostuser: {options_of(seen.device('vhost-user-blk-pci'))}")
