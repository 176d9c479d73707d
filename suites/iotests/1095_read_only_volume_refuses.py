"""This case checks that a read-only volume refuses writers and changes, and stays as it is.

How: QEMU must not open it for writing, and opens it read-only where it may choose. Every kind of
change is refused, and so is a writable export of the node. The golden has the errors.
Guards: read-only-not-advertised, errno-collapsed.
"""

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_equal, expect_in, expect_same


@case(
    groups="errors reading quick",
    requires="refuses_writes",
    basis=("MUST: QAPI, BlockdevOptions", "POLICY: refused-request-changes-nothing"),
)
def test(disk, qemu_io, qemu_img, storage_daemon, golden):
    before = disk.volume_path.read_bytes()
    writable = over("raw", disk.protocol_blockdev() | {"read-only": False})
    error = qemu_img.fails("bench", "-w", "-c", "1", json_filename(writable))
    expect_in("does not support writes", error, "opening for writes")
    with qemu_io(disk) as io:
        for request in ("write 0 512", "write -z 0 512", "discard 0 64k"):
            golden(f"{request}: {io(request).strip()}")
        io.read(0, disk.size // 8)
    with storage_daemon() as qsd:
        choice = disk.protocol_blockdev("volume") | {"read-only": False, "auto-read-only": True}
        node = qsd.add(over("raw", choice, "disk", read_only=True))
        named = {one["node-name"]: one["ro"] for one in qsd.qmp("query-named-block-nodes")}
        expect_equal(named["volume"], True, "auto-read-only, the node of the volume")
        try:
            qsd.export(node, name="writable")
        except QmpFailed as error:
            golden(f"a writable export: {error.description}")
        else:
            raise AssertionError("a writable export of a read-only node was made")
        uri = qsd.export(node, name="again", writable=False)
        with qemu_io(uri, read_only=True, shadow=disk.shadow) as io:
            io.read(0, 1 << 20)
    expect_same(disk.volume_path.read_bytes(), before, "the file behind the volume")
    disk.verify()
