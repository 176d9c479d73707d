"""This case checks that a request with a wrong magic ends its connection, and nothing is written.

How: single wrong bits, other magics, swapped bytes, and a stream shifted by one byte, each followed
by a valid write. Another connection is still served.
Related: payload-not-drained, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, SIMPLE_REPLY_MAGIC, Command
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import connected, is_closed, is_serving

WRONG = (
    0,
    SIMPLE_REPLY_MAGIC,
    REQUEST_MAGIC ^ 1,
    REQUEST_MAGIC ^ (1 << 31),
    0x21E41C71,
    0x13956025,
)


@case(groups="protocol quick", requires="nbd", basis="MUST: NBD, Request message")
def test(disk):
    write = m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 2, 0, 512) + b"\xbd" * 512
    with connected(disk) as other:
        streams = [m.REQUEST.pack(magic, 0, Command.READ, 1, 0, 512) + write for magic in WRONG]
        for stream in (*streams, b"\0" + write):
            with connected(disk) as io:
                io.client.send(stream)
                magic = stream[:4].hex()
                assert is_closed(io.client), f"a request with the magic {magic} stays connected"
            other.read(0, 4096)
    assert is_serving(disk), "a new client is not served after wrong magics"
    disk.verify()
