"""This case checks that a write refused for its alignment changes nothing and is drained.

How: a minimum of 4 KiB, writes within blocks whose payload is a valid request; the requests after
them on the same connection are answered as such.
Guards: min-block-underadvertised, payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import CLOSED, enter, haggling, outcome


@case(groups="protocol blocksize", requires="nbd min_block")
def test(new_disk):
    disk = new_disk("1M", min_block=4096)
    payload = (m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 9, 0, 4096) + bytes(4096)) * 3
    for offset, length in ((1, 512), (512, 4096), (4096, 28), (0, 4124), (4095, 8192)):
        with haggling(disk) as client:
            enter(client, disk)
            error = outcome(client, Command.WRITE, offset, length, 0, payload[:length])
            if not error:
                disk.shadow.write(offset, payload[:length])
            if error != CLOSED:
                assert bytes(client.read(8192, 4096)) == disk.shadow.expected(8192, 4096)
    disk.verify()
