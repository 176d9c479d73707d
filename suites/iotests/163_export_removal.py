"""This case checks that an export with a client is removed only by force, and loses no write.

How: safe removal is refused while a client is connected, and the client continues. Hard removal
disconnects it: every write acknowledged before must be there. Then the export is gone, and can be
created again.
Guards: inflight-hang-on-disconnect.
Related: late-request-after-quiesce, connection-slot-leak.
"""

from qbdcheck.kit import ProgramError, QmpFailed, case
from qbdcheck.kit.expectations import expect_equal, expect_in


@case(groups="export errors quick", basis="MUST: QAPI, block-export-del")
def test(disk, qemu_io, qemu_img, storage_daemon, golden):
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        uri = qsd.export("source")
        io = qemu_io(uri, shadow=disk.shadow)
        for number in range(8):
            io.write(number << 20, 10_000)
        golden("safe with a client:", refusal(qsd, "export1", "safe"))
        for number in range(8):
            io.write((number << 20) + 20_000, 10_000)

        qsd.qmp("block-export-del", id="export1", mode="hard")
        qsd.wait_event("BLOCK_EXPORT_DELETED", id="export1")
        expect_equal(qsd.qmp("query-block-exports"), [], "the exports after removal")
        try:
            io.write(5 << 20, 4096)
        except ProgramError:
            pass
        else:
            raise AssertionError(
                "write of 4096 bytes to a removed export: expected an error, got success"
            )
        io.abandon()
        golden("again:", refusal(qsd, "export1", "hard"))
        expect_in(
            "Requested export not available", qemu_img.fails("info", uri), "the removed export"
        )

        uri = qsd.export("source")
        with qemu_io(uri, shadow=disk.shadow) as io:
            io.read(5 << 20, 64 << 10)
            io.write(6 << 20, 4096)
            io.flush()
        qsd.qmp("block-export-del", id="export2", mode="safe")
        qsd.wait_event("BLOCK_EXPORT_DELETED", id="export2")
    disk.verify()


def refusal(qsd, export, mode):
    """Return the error text of a removal that must be refused."""
    try:
        qsd.qmp("block-export-del", id=export, mode=mode)
    except QmpFailed as error:
        return error.description
    raise AssertionError(
        f"block-export-del of {export}, mode {mode}: expected an error, got success"
    )
