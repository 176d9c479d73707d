"""This case checks that requests that were sent before DISC are carried out.

How: writes, zeroes and DISC in one stream of bytes, in simple and extended mode. The server handles
DISC after all outstanding requests, so each of them is on the volume once the connection is closed,
whether its reply was sent or not.
Guards: disconnect-drops-outstanding, close-drops-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag
from qbdcheck.kit.nbd import client_replies as wire
from qbdcheck.kit.request_errors import RequestLost

LENGTH, EACH, TURNS = 4096, 14, 100


@case(
    groups="protocol concurrent quick",
    requires="nbd",
    basis=("MUST: NBD, NBD_CMD_DISC", "POLICY: answered-writes-outlive-their-connection"),
)
def test(new_disk, nbd_io, target):
    length, turns = LENGTH * target.scale, max(10, TURNS // target.scale)
    disk = new_disk(2 * turns * EACH * length)
    for extended in (False, True):
        for turn in range(turns):
            with nbd_io(disk, structured=extended, extended=extended) as io:
                stream = b"".join(requests(io, disk, turn + turns * extended, length))
                stream += message(io, Command.DISC, 99, 0, 0)
                try:
                    io.client.send(stream)
                    while io.client.sock.recv(65536):
                        pass
                except ConnectionError:
                    what = f"{EACH} requests and DISC in {len(stream)} bytes, the first a change at"
                    place = (turn + turns * extended) * EACH * length
                    raise RequestLost(
                        f"{what} {place}: the server ended the connection before it had read them"
                    ) from None
    disk.verify()


def requests(io, disk, turn, length):
    """Yield the bytes of requests, and note in the shadow what they change."""
    zeroes = io.offers(TransmissionFlag.SEND_WRITE_ZEROES)
    for number in range(EACH):
        at = (turn * EACH + number) * length
        if zeroes and number % 5 == turn % 5:
            disk.shadow.zero(at, length)
            yield message(io, Command.WRITE_ZEROES, number, at, length)
        else:
            data = bytes(disk.shadow.stamped(at, length))
            disk.shadow.write(at, data)
            yield message(io, Command.WRITE, number, at, length) + data


def message(io, command, cookie, offset, length):
    flags = 0
    if command == Command.WRITE and io.client.mode.name == "EXTENDED":
        flags = CommandFlag.PAYLOAD_LEN
    return wire.request(io.client.mode, flags, command, cookie, offset, length)
