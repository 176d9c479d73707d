"""This case checks that a write whose payload never came whole is not taken for a whole one.

How: headers of writes with none, half, and all but one byte of the payload, then the socket is
closed; what was not sent must not be on the disk, and the disk must not be stuck.
Guards: phantom-write, zombie-write-after-reconnect, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import enter, haggling, serves

LENGTH = 65536


@case(groups="protocol crash quick", requires="nbd")
def test(disk):
    newer = {}
    for number, sent in enumerate((0, 1, 512, LENGTH // 2, LENGTH - 1)):
        at = number * LENGTH * 2
        with haggling(disk) as client:
            enter(client, disk)
            client.send(m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 5, at, LENGTH))
            client.send(b"\xbd" * sent)
            with haggling(disk) as other:
                enter(other, disk)
                newer[at] = bytes(disk.shadow.stamped(at, LENGTH))
                other.write(at, newer[at])
                disk.shadow.write(at, newer[at])
    assert serves(disk)
    disk.verify()
