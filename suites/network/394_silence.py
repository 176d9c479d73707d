"""This case checks that a silent server blocks only its own clients, and not forever.

How: the link forwards nothing, with writes in flight. The monitor answers, and another disk works.
Yank fails the writes at once; then the node can be removed and added again. On a slow link the data
is right. QEMU quits in bounded time while requests wait for a connection. Where QEMU adds no export
meanwhile, the other disk is exported before (docs/findings.md, qemu-export-add-waits).
Guards: inflight-hang-on-disconnect.
Related: handshake-slowloris.
"""

from qbdcheck.kit import IoFailed, case

LENGTH = 4096
"""Bytes of a write: 16 of them fit into the buffers of a Unix socket (docs/findings.md)."""


def start_writes(io):
    for number in range(16):
        io.aio_write(number << 18, LENGTH)


@case(
    groups="protocol network concurrent slow",
    requires="nbd",
    basis=("POLICY: clients-do-not-disturb-each-other", "MUST: QAPI, BlockdevOptionsNbd"),
)
def test(disk, new_disk, link, machine, qemu_io, target, not_run):
    other = new_disk("1M", name="other")
    with machine(kind="none") as vm:
        vm.add(other.protocol_blockdev("other"))
        vm.add(disk.protocol_blockdev("disk", reconnect_delay=30))
        with qemu_io(vm.export("disk"), shadow=disk.shadow) as io:
            uri = vm.export("other") if target.qemu_version > (7, 2) else None
            if uri is not None:
                not_run("block-export-add with a silent server: finding qemu-export-add-waits")
            link.freeze()
            start_writes(io)
            exports = vm.qmp("query-block-exports")
            assert exports, "query-block-exports lists no export"
            with qemu_io(uri or vm.export("other"), shadow=other.shadow) as elsewhere:
                elsewhere.write(0, 65536)
            vm.qmp("yank", instances=[{"type": "block-node", "node-name": "disk"}])
            try:
                io.drain()
            except IoFailed as error:
                reason = error.reason
                assert reason == "Input/output error", f"writes after yank: {reason}, not EIO"
            else:
                raise AssertionError("16 writes succeeded although the link forwards nothing")
            link.cut()
            link.thaw()
        vm.qmp("block-export-del", id="export1")
        vm.qmp("blockdev-del", node_name="disk")
        link.bytes_per_s = 8 << 20
        vm.add(disk.protocol_blockdev("slow", reconnect_delay=1))
        with qemu_io(vm.export("slow"), shadow=disk.shadow) as io:
            io.write(4096, 1 << 20)
            io.read(0, 1 << 20)
            link.bytes_per_s = None
            link.freeze()
            start_writes(io)
            link.refuse()
            link.cut()
            io.abandon()
        vm.close()  # QEMU ends at the latest after the reconnect-delay
