"""Builders of libvirt's XML: disks on the target's volumes, and the smallest domains (format of
domains: libvirt.org/formatdomain.html)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from qbdcheck.errors import NotRun
from qbdcheck.programs.blockdev import Blockdev
from qbdcheck.targets.disk import Disk

NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"


def element(name: str, inner: str = "", /, **attributes: object) -> str:
    """Return an element. Attributes that are None are left out, and an underscore at the end."""
    words = "".join(
        f" {key.rstrip('_')}={quoteattr(str(value))}"
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{words}>{inner}</{name}>" if inner else f"<{name}{words}/>"


def source_xml(blockdev: Blockdev, name: str = "source", inner: str = "") -> tuple[str, str]:
    """Return the type of a disk and its source, for the options of a protocol node.

    :param name: of the element; the copies of jobs have other names.
    :raise NotRun: libvirt has no disk of this driver.
    """
    driver = blockdev["driver"]
    if driver == "nbd":
        server = blockdev.get("server", {})
        if blockdev.get("tls-creds"):
            raise NotRun("libvirt takes TLS credentials for NBD only from its own configuration")
        if server.get("type") == "unix":
            host = element("host", transport="unix", socket=server["path"])
        else:
            host = element("host", name=server.get("host"), port=server.get("port"))
        return "network", element(
            name, host + inner, protocol="nbd", name=blockdev.get("export") or None
        )
    if driver == "iscsi":
        address, _, port = str(blockdev["portal"]).rpartition(":")
        lun = f"{blockdev['target']}/{blockdev['lun']}"
        host = element("host", name=address, port=port)
        return "network", element(name, host + inner, protocol="iscsi", name=lun)
    if driver in ("rbd", "qbd"):  # the QEMU of the domain has qbd under the name rbd
        parts = element("config", file=blockdev["conf"]) if "conf" in blockdev else ""
        volume = f"{blockdev['pool']}/{blockdev['image']}"
        return "network", element(name, parts + inner, protocol="rbd", name=volume)
    if driver == "file":
        return "file", element(name, inner, file=blockdev["filename"])
    if driver == "host_device":
        return "block", element(name, inner, dev=blockdev["filename"])
    raise NotRun(f"libvirt has no disk for QEMU's driver {driver}")


def disk_xml(
    disk: Disk | Blockdev | Path | str,
    target: str = "vda",
    bus: str = "virtio",
    inner: str = "",
    format: str | None = None,  # noqa: A002  # the word that cases use
    **driver: object,
) -> str:
    """Return a disk of a domain.

    :param disk: a disk of the case, options of a protocol node, the path of a file, or the XML of
        a source with the attribute ``type`` of its disk in front: ``network <source .../>``.
    :param inner: further elements: ``<serial>x</serial>``.
    :param format: of the image; by default that of the disk, or raw.
    :param driver: attributes of ``<driver>``: ``cache="none"``.
    :raise NotRun: libvirt has no disk of this driver.
    """
    if isinstance(disk, str):
        kind, _, source = disk.partition(" ")
    elif isinstance(disk, Path):
        kind, source = "file", element("source", file=disk)
    else:
        node = disk.protocol_blockdev() if isinstance(disk, Disk) else disk
        kind, source = source_xml(node)
    shown = format or (disk.format if isinstance(disk, Disk) else "raw")
    how = element("driver", name="qemu", type=shown, **driver)
    place = element("target", dev=target, bus=bus) + element("alias", name=f"ua-{target}")
    return element("disk", how + source + place + inner, type=kind, device="disk")


def domain_xml(
    *disks: str,
    emulator: Path,
    os: str = "",
    memory_mib: int = 32,
    machine: str = "pc",
    inner: str = "",
    devices: str = "",
    arguments: Sequence[str] = (),
    shared: Sequence[str] = (),
) -> str:
    """Return the smallest domain with these disks: no guest, no network, no display.

    :param disks: of `disk_xml`. :param os: further elements of ``<os>``. :param inner: further
        elements of the domain. :param devices: further devices.
    :param arguments: of QEMU, as they are.
    :param shared: targets of disks to which `Domain.export` may give a second writer.
    """
    boot = element("type", "hvm", arch="x86_64", machine=machine)
    parts = element("emulator", str(emulator)) + "".join(disks) + devices
    parts += element("controller", type="usb", model="none")
    parts += element("memballoon", model="none")
    extra = ""
    if arguments:
        extra += element(
            "qemu:commandline", "".join(element("qemu:arg", value=word) for word in arguments)
        )
    share = element("qemu:property", name="share-rw", type="bool", value="true")
    overrides = "".join(
        element("qemu:device", element("qemu:frontend", share), alias=f"ua-{target}")
        for target in shared
    )
    extra += element("qemu:override", overrides) if overrides else ""
    return (
        f"<domain type='qemu' xmlns:qemu='{NAMESPACE}'><name>d</name>"
        + element("memory", str(memory_mib), unit="MiB")
        + "<vcpu>1</vcpu>"
        + element("os", boot + os)
        + element("features", "<acpi/>")
        + inner
        + element("devices", parts)
        + extra
        + "</domain>"
    )


def source_of(disk: str | ET.Element) -> dict[str, str]:
    """Return what the source of a disk names: attributes of ``<source>`` and of its ``<host>``."""
    top = ET.fromstring(disk) if isinstance(disk, str) else disk  # noqa: S314  # our own
    source = top.find("source")
    assert source is not None, "the disk has no source"
    host = source.find("host")
    named = {**source.attrib, **({} if host is None else host.attrib)}
    return {key: value for key, value in named.items() if key not in ("index", "tls")}
