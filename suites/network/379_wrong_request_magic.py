"""This case checks that a request with a wrong magic ends its connection, and nothing is written.

How: each bit class of the magic wrong, replies' magics, and a stream shifted by one byte, each
before a valid write; a bystander is served on.
Guards: payload-not-drained, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, SIMPLE_REPLY_MAGIC, Command
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import enter, haggling, is_closed, serves

WRONG = (
    0,
    SIMPLE_REPLY_MAGIC,
    REQUEST_MAGIC ^ 1,
    REQUEST_MAGIC ^ (1 << 31),
    0x21E41C71,
    0x13956025,
)


@case(groups="protocol quick", requires="nbd")
def test(disk):
    write = m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 2, 0, 512) + b"\xbd" * 512
    with haggling(disk) as bystander:
        enter(bystander, disk)
        streams = [m.REQUEST.pack(magic, 0, Command.READ, 1, 0, 512) + write for magic in WRONG]
        for stream in (*streams, b"\0" + write):
            with haggling(disk) as client:
                enter(client, disk)
                client.send(stream)
                assert is_closed(client), f"{stream[:4].hex()} is taken for a request"
            assert bytes(bystander.read(0, 512)) == disk.shadow.expected(0, 512)
    assert serves(disk)
    disk.verify()
