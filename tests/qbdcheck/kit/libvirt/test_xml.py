"""Each driver of a target becomes the disk that libvirt has for it; other drivers are not run."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element, source_of, source_xml

SOURCES: list[tuple[dict[str, Any], str, dict[str, str]]] = [
    (
        {"driver": "nbd", "server": {"type": "unix", "path": "/s"}, "export": "a&b"},
        "network",
        {"protocol": "nbd", "name": "a&b", "transport": "unix", "socket": "/s"},
    ),
    (
        {"driver": "nbd", "server": {"type": "inet", "host": "::1", "port": "7"}, "export": ""},
        "network",
        {"protocol": "nbd", "name": "::1", "port": "7"},  # of the host: the export has no name
    ),
    (
        {"driver": "iscsi", "transport": "tcp", "portal": "[::1]:3260", "target": "iqn", "lun": 1},
        "network",
        {"protocol": "iscsi", "name": "[::1]", "port": "3260"},
    ),
    ({"driver": "qbd", "pool": "p", "image": "v"}, "network", {"protocol": "rbd", "name": "p/v"}),
    ({"driver": "file", "filename": "/a"}, "file", {"file": "/a"}),
    ({"driver": "host_device", "filename": "/dev/x"}, "block", {"dev": "/dev/x"}),
]


@pytest.mark.parametrize(("blockdev", "kind", "named"), SOURCES)
def test_a_driver_becomes_a_disk(
    blockdev: dict[str, Any], kind: str, named: dict[str, str]
) -> None:
    assert source_xml(blockdev)[0] == kind
    disk = ET.fromstring(disk_xml(blockdev))
    assert disk.get("type") == kind
    assert source_of(disk) == named


def test_an_iscsi_name_has_target_and_lun() -> None:
    blockdev = {"driver": "iscsi", "portal": "h:1", "target": "iqn.2026:x", "lun": 7}
    assert 'name="iqn.2026:x/7"' in source_xml(blockdev)[1]


@pytest.mark.parametrize(
    ("blockdev", "reason"),
    [
        ({"driver": "ssh"}, "libvirt has no disk for QEMU's driver ssh"),
        ({"driver": "nbd", "tls-creds": "t", "server": {}}, "TLS credentials"),
    ],
)
def test_what_libvirt_cannot_do_is_not_run(blockdev: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotRun, match=reason):
        source_xml(blockdev)


def test_an_element_quotes_its_attributes_and_leaves_out_none() -> None:
    assert element("a", b='<"&', c=None, type_="x") == """<a b='&lt;"&amp;' type="x"/>"""
    assert element("a", element("b"), c=1) == '<a c="1"><b/></a>'


def test_a_domain_has_its_disks_in_order_and_shares_only_the_named() -> None:
    text = domain_xml(
        disk_xml(Path("/a"), "vda", cache="none"),
        disk_xml(Path("/b"), "vdb", format="qcow2", error_policy="stop"),
        emulator=Path("/qemu"),
        shared=["vdb"],
        arguments=["-x"],
    )
    domain = ET.fromstring(text)
    drivers = [disk.attrib for disk in domain.iter("driver")]
    assert drivers == [
        {"name": "qemu", "type": "raw", "cache": "none"},
        {"name": "qemu", "type": "qcow2", "error_policy": "stop"},
    ]
    assert text.count("share-rw") == 1
    assert 'alias="ua-vdb"' in text
    assert '<qemu:arg value="-x"/>' in text
