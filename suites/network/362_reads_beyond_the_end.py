"""This case checks that no read beyond the end is answered with data, wherever the sum overflows.

How: offsets at the end, at 2^31, 2^32, 2^63 and 2^64; an error or the end of the connection.
Guards: size-rounded-up, offset-len-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import CLOSED, enter, haggling, outcome, serves


@case(groups="protocol size", requires="nbd")
def test(disk):
    end = disk.size
    ranges = [(end, 512), (end - 512, 1024), (end + 512, 512), (end, 1)]
    for power in (31, 32, 63, 64):
        ranges += [((1 << power) - 512, 512), ((1 << power) - 512, 1024)]
    ranges += [(1 << 63, 512), ((1 << 64) - 1, 1), ((1 << 63) - 1, 2)]
    client_of = haggling(disk)
    client = client_of.__enter__()
    enter(client, disk)
    for offset, length in ranges:
        error = outcome(client, Command.READ, offset, length)
        assert error, f"read of {length} at {offset:#x} succeeded"
        if error == CLOSED:
            client_of.__exit__(None, None, None)
            client_of = haggling(disk)
            client = client_of.__enter__()
            enter(client, disk)
        assert bytes(client.read(end - 512, 512)) == disk.shadow.expected(end - 512, 512)
    client_of.__exit__(None, None, None)
    assert serves(disk)
