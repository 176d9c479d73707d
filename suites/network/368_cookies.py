"""This case checks that a cookie comes back as it was sent, whatever its bits, even used twice.

How: cookies of all ones, all zeroes, with a byte order mark, and 64 alike bits apart, each for a
read of its own sector; one cookie used again after its reply.
Guards: shared-cursor-race, wrong-volume-or-lun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import enter, haggling

COOKIES = (0, (1 << 64) - 1, 1 << 63, 1 << 32, 0x0102030405060708, 0x2560951367446698)


@case(groups="protocol concurrent", requires="nbd")
def test(disk):
    with haggling(disk) as client:
        enter(client, disk)
        for cookies in (COOKIES, tuple(1 << bit for bit in range(64)), COOKIES[::-1]):
            for index, cookie in enumerate(cookies):
                client.send_request(Command.READ, index * 512, 512, cookie=cookie)
            seen = {}
            for _ in cookies:
                reply = client.receive_reply()
                assert reply.cookie not in seen, f"two replies to {reply.cookie:#x}"
                seen[reply.cookie] = reply
            for index, cookie in enumerate(cookies):
                assert not seen[cookie].error
                assert bytes(seen[cookie].data) == disk.shadow.expected(index * 512, 512)
