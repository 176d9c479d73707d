"""This case checks that a write with an incomplete payload is not executed.

How: headers of writes with none, a part, and all but one byte of the payload; then the socket is
closed. Another client writes the same place meanwhile; its data must stay.
Guards: inflight-hang-on-disconnect.
Related: phantom-write, zombie-write-after-reconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import connected, is_serving

LENGTH = 65536


@case(groups="protocol crash quick", requires="nbd", basis="MUST: NBD, NBD_CMD_WRITE")
def test(disk):
    for number, sent in enumerate((0, 1, 512, LENGTH // 2, LENGTH - 1)):
        at = number * LENGTH * 2
        with connected(disk) as io:
            client = io.client
            client.send(m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 5, at, LENGTH))
            client.send(b"\xbd" * sent)
            with connected(disk) as other:
                other.write(at, LENGTH)
    assert is_serving(disk), "a new client is not served after incomplete writes"
    disk.verify()
