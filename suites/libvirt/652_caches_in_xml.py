"""This case checks that each cache mode, io, discard and detect_zeroes reaches QEMU as it must.

How: domxml-to-native. A cache mode is three switches: direct, no-flush, the device's write cache.
Guards: option-not-passed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element

FILE = "file " + element("source", file="/images/a")
NBD = "network " + element(
    "source", element("host", transport="unix", socket="/run/s"), protocol="nbd", name="disk"
)
CACHES = ("default", "none", "writethrough", "writeback", "directsync", "unsafe")
OTHERS = (
    {"io": "native", "cache": "none"},
    {"io": "threads"},
    {"io": "io_uring"},
    {"discard": "unmap"},
    {"discard": "ignore"},
    {"detect_zeroes": "on"},
    {"detect_zeroes": "unmap", "discard": "unmap"},
    {"detect_zeroes": "off"},
)


@case(groups="libvirt flush", programs="qemu-system-x86_64", basis="MUST: libvirt, domain driver")
def test(libvirt, golden):
    def seen(source, **driver):
        disk = disk_xml(source, **driver)
        return libvirt.to_native(domain_xml(disk, emulator=libvirt.emulator)).disk()

    for cache in CACHES:
        for label, source in (("file", FILE), ("nbd", NBD)):
            disk = seen(source, cache=cache)
            switches = disk.node.get("cache", {})
            shown = " ".join(f"{key}={value}" for key, value in switches.items()) or "no switches"
            golden(f"{label} cache={cache}: {shown} write-cache={disk.device.get('write-cache')}")
            assert disk.storage.get("cache", {}) == switches, (
                f"{label}, cache={cache}: the protocol node has {disk.storage.get('cache')}, "
                f"the format node has {switches}"
            )
    for driver in OTHERS:
        disk = seen(FILE, **driver)
        nodes = {**disk.storage, **disk.node}
        shown = " ".join(
            f"{key}={nodes[key]}" for key in ("aio", "discard", "detect-zeroes") if key in nodes
        )
        golden(f"{' '.join(f'{key}={value}' for key, value in driver.items())}: {shown}")
