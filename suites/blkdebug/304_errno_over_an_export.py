"""This case checks that QEMU's NBD server reports to a raw client the errno of the node below it.

How: a blkdebug node for each of 13 errnos is exported. All commands are sent, with simple and
structured replies and DF. The golden is part of docs/errno-matrix.md.
Related: errno-collapsed, async-error-ignored, error-kills-connection.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.errno_matrix import ERRNOS, WIRE_COLUMNS, on_the_wire, row

AT, STATUS_AT = 64 << 10, 512 << 10


@case(
    groups="inject errors export protocol",
    basis=("SHOULD: NBD, Error values", "MUST: QAPI, BlockdevOptionsBlkdebug"),
)
def test(new_disk, nbd, storage_daemon, golden):
    disk = new_disk("1M")
    golden(row("injected", *WIRE_COLUMNS))
    with storage_daemon() as qsd:
        qsd.add(disk.protocol_blockdev("volume"))
        for name, number in ERRNOS.items():
            # A structured read queries block status too, so the failing place is elsewhere.
            status = error(number=number, iotype="block-status", sector=STATUS_AT // 512)
            rules = (error(number=number), status)
            qsd.add(blkdebug("volume", *rules, node_name=name, discard="unmap"))
            uri = qsd.export(name)

            def connect(structured, uri=uri):
                return nbd(uri, structured=structured)

            golden(row(name, *on_the_wire(connect, AT, status_at=STATUS_AT)))
    disk.verify()
