"""This case checks that the largest volume that NBD can name, 2^63 - 1 bytes, works at both ends.

How: a raw client checks the negotiated size, the first and last bytes and their block status, and
offsets whose sum with the length overflows. After a refusal the connection works, or the server
has ended it without a reply. If the target makes no such volume, the largest that it makes is used.
Guards: negative-size, offset-len-overflow, size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import ask
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_io import CLOSED
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import first_possible

LARGEST = (1 << 63) - 1
SIZES = (LARGEST, LARGEST - 511, LARGEST - 4095, *(1 << bits for bits in range(62, 22, -4)))


@case(
    groups="size quick protocol",
    requires="nbd",
    basis=(
        "MUST: NBD, NBD_CMD_READ",
        "MUST: NBD, NBD_CMD_WRITE",
        "MUST: NBD, NBD_CMD_BLOCK_STATUS",
    ),
)
def test(nbd_io, target, log):
    disk = first_possible(target, SIZES, log)
    size = disk.size
    with nbd_io(disk) as io:
        minimum = io.block_sizes[0]
        places = (0, (1 << 32) - 2048, size // 2, size - 5000)
        ranges = [widened(offset, 4096, minimum) for offset in places if offset < size - 4096]
        for offset, length in ranges:
            io.write(offset, length)
    for beyond in ((size, 1), (size - 1, 2), ((1 << 64) - 512, 512), (1 << 63, 4096)):
        for command in (Command.READ, Command.WRITE):
            with nbd_io(disk) as io:
                if io.must_refuse(command, *beyond) != CLOSED:
                    io.read(*ranges[0])
    with nbd_io(disk) as io:
        for offset, length in (*ranges, widened(size // 4, 65536, minimum)):
            io.read(offset, length)
            if io.client.contexts:
                ask(io.client, offset, length)
