"""This case checks that a reply has the cookie of its request, for any bits and when used again.

How: cookies of all ones, of all zeroes, equal to magics, and 64 cookies with one bit each; each for
a read of its own block. Each cookie of the first group is used again after its reply.
Related: shared-cursor-race, wrong-volume-or-lun.
"""

from qbdcheck.kit import case, judge
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import connected

BLOCK = 4096
COOKIES = (0, (1 << 64) - 1, 1 << 63, 1 << 32, 0x0102030405060708, 0x2560951367446698)


@case(groups="protocol concurrent", requires="nbd", basis="MUST: NBD, Transmission")
def test(disk, target):
    block = BLOCK * target.scale
    with connected(disk) as io:
        client = io.client
        for cookies in (COOKIES, tuple(1 << bit for bit in range(64)), COOKIES[::-1]):
            for index, cookie in enumerate(cookies):
                client.send_request(Command.READ, index * block, block, cookie=cookie)
            seen = {}
            for _ in cookies:
                reply = client.receive_reply()
                assert reply.cookie not in seen, f"two replies to the cookie {reply.cookie:#x}"
                seen[reply.cookie] = reply
            for index, cookie in enumerate(cookies):
                what = f"READ of {block} bytes at {index * block} with the cookie {cookie:#x}"
                reply = seen[cookie]
                assert not reply.error, f"{what}: errno {reply.error}"
                judge(disk.shadow, index * block, reply.data, what)
