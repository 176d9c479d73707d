"""This case checks that after an error of each kind of request an export serves the next one.

How: a raw client with simple replies over a node that fails each kind of request at one sector with
its own errno. Each errno must arrive, the connection must stay usable, and other requests must be
done.
Related: error-kills-connection, errno-collapsed, payload-not-drained.
"""

from errno import EIO, ENOMEM, ENOSPC, EPERM

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.nbd import Command

AT = 64 << 10
COMMANDS = {
    "read": Command.READ,
    "write": Command.WRITE,
    "write-zeroes": Command.WRITE_ZEROES,
    "discard": Command.TRIM,
}
NUMBERS = {"read": ENOMEM, "write": ENOSPC, "write-zeroes": EIO, "discard": EPERM}


@case(groups="inject errors export protocol quick", basis="SHOULD: NBD, Error values")
def test(new_disk, nbd_io, storage_daemon):
    disk = new_disk("512k")
    rules = [error(number=number, iotype=kind, sector=128) for kind, number in NUMBERS.items()]
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="disk", discard="unmap"))
        io = nbd_io(qsd.export("disk"), disk.shadow, structured=False)
        for _ in range(3):
            for kind, command in COMMANDS.items():
                io.must_refuse(command, AT, 4096, errnos=(NUMBERS[kind],))
                io.read(0, 4096)
        io.write(2 * AT, 4096)
        io.flush()
        io.close()
    disk.verify()
