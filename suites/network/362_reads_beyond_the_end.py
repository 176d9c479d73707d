"""This case checks that a read beyond the end gets no data, even if offset + length overflows.

How: offsets at the end, and near 2^31, 2^32, 2^63 and 2^64. Each read gets an error or the end of
the connection.
Guards: offset-len-overflow.
Related: size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import CLOSED, connected, is_serving


@case(groups="protocol size", requires="nbd", basis="SHOULD: NBD, NBD_CMD_READ")
def test(disk):
    end = disk.size
    ranges = [(end, 512), (end - 512, 1024), (end + 512, 512), (end, 1)]
    for power in (31, 32, 63, 64):
        ranges += [((1 << power) - 512, 512), ((1 << power) - 512, 1024)]
    ranges += [(1 << 63, 512), ((1 << 64) - 1, 1), ((1 << 63) - 1, 2)]
    while ranges:
        with connected(disk) as io:
            while ranges and io.must_refuse(Command.READ, *ranges.pop()) != CLOSED:
                io.read(end - 4096, 4096)
    assert is_serving(disk), "a new client is not served after reads beyond the end"
