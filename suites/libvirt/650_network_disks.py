"""This case checks that libvirt gives QEMU the address of each kind of network disk, unchanged.

How: domxml-to-native on disks of the protocols nbd, rbd and iscsi. The golden has the options of
the protocol node, without those that caching and discard set.
Guards: wrong-volume-or-lun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.native import options_of
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element

IQN = "iqn.2026-11.org.qbdcheck:disk"


def network(protocol, *parts, **source):
    return "network " + element("source", "".join(parts), protocol=protocol, **source)


def host(**attributes):
    return element("host", **attributes)


DISKS = {
    "nbd, unix": network("nbd", host(transport="unix", socket="/run/s"), name="disk"),
    "nbd, unix, no name": network("nbd", host(transport="unix", socket="/run/s")),
    "nbd, tcp": network("nbd", host(name="h.example", port=10810), name="a b/ü"),
    "nbd, IPv6": network("nbd", host(name="::1"), name="disk"),
    "rbd": network("rbd", host(name="m1", port=6789), host(name="m2"), name="pool/vol"),
    "rbd, snapshot": network(
        "rbd", element("snapshot", name="s1"), element("config", file="/c"), name="pool/vol"
    ),
    "iscsi": network("iscsi", host(name="h.example", port=3261), name=f"{IQN}/7"),
    "iscsi, no lun": network("iscsi", host(name="h.example"), name=IQN),
}


@case(groups="libvirt names", programs="qemu-system-x86_64", basis="MUST: libvirt, domain source")
def test(libvirt, golden):
    for label, source in DISKS.items():
        native = libvirt.to_native(domain_xml(disk_xml(source), emulator=libvirt.emulator))
        golden(f"{label}: {options_of(native.disk().storage)}")
