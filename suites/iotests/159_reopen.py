"""This case checks that a node reopened on another volume keeps its clients and loses no write.

How: blockdev-reopen replaces the file below an exported raw node. Each write must be on the volume
that was below at that moment. Reopens with wrong options are refused (error texts in the golden)
and change nothing.
Related: reopen-different-placement, wrong-volume-or-lun, late-request-after-quiesce.
"""

from qbdcheck.kit import case


@case(groups="reopen export quick", basis="MUST: QAPI, blockdev-reopen")
def test(new_disk, qemu_io, storage_daemon, golden):
    one, two = new_disk("2M"), new_disk("2M")
    with storage_daemon() as qsd:
        qsd.add(one.protocol_blockdev("one", discard="unmap"))
        qsd.add(two.protocol_blockdev("two"))
        raw = {"driver": "raw", "node-name": "top", "file": "one"}
        qsd.add(raw)
        uri = qsd.export("top")

        with qemu_io(uri, shadow=one.shadow) as io:
            io.write(4096, 4096)
            for number in range(4):
                io.aio_write((1 << 20) + number * 9000, 9000)
            io.read(4096, 4096)  # a reply proves that the server has received the writes before
            qsd.qmp("blockdev-reopen", options=[{**raw, "file": "two"}])
            io.drain()
            io.flush()
        one.verify()
        with qemu_io(uri, shadow=two.shadow) as io:
            io.read(4096, 4096)
            io.write(8192, 4096)
            io.flush()
        two.verify()
        for options in (
            {**raw, "file": "nowhere"},
            {**raw, "file": "one", "size": 4096 + 1},
            {**raw, "file": "one", "read-only": True},
            {**raw, "driver": "qcow2", "file": "one"},
            {**raw, "node-name": "nothing"},
            {**raw, "bogus": True},
        ):
            golden(refusal(qsd, options))
        with qemu_io(uri, shadow=two.shadow) as io:
            io.write(0, 512)
            io.flush()
    one.verify()
    two.verify()


def refusal(qsd, options):
    """Return the error text of a reopen that must be refused."""
    try:
        qsd.qmp("blockdev-reopen", options=[options])
    except Exception as error:
        return str(error)
    raise AssertionError(f"blockdev-reopen with {options}: expected an error, got success")
