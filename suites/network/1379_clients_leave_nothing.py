"""This case checks that clients that come and go leave nothing behind in the server.

How: rounds of clients that end in order, vanish between requests, vanish in the handshake, abort
it, and ask for an unknown export. Threads and open files of the server and its children are counted
after two rounds, and must be back near that number after the others.
Guards: descriptor-leak.
Related: connection-slot-leak.
"""

from qbdcheck.kit import case
from qbdcheck.kit.footprint import expect_no_leak, footprint, settles
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import connected, is_serving, negotiating, option_result

ROUNDS, SPARE = 8, 6


@case(
    groups="protocol concurrent quick",
    requires="nbd",
    basis="POLICY: clients-do-not-disturb-each-other",
)
def test(disk, nbd_io):
    for _ in range(2):
        round_of_clients(disk, nbd_io)
    before = settles(disk.backend, footprint(disk.backend), 0)
    for _ in range(ROUNDS):
        round_of_clients(disk, nbd_io)
    after = settles(disk.backend, before, SPARE, within_s=12.0)
    expect_no_leak(before, after, SPARE, f"{ROUNDS} rounds of clients that came and went")
    disk.verify()


def round_of_clients(disk, nbd_io):
    with nbd_io(disk) as io:
        io.write(0, 4096)
        io.read(0, 4096)
    with connected(disk) as io:
        io.read(0, 4096)
    with negotiating(disk, client_flags=None):
        pass
    with negotiating(disk) as client:
        client.send(m.option(Option.LIST)[:7])
    with negotiating(disk) as client:
        client.send(m.option(Option.ABORT))
    with negotiating(disk) as client:
        option_result(client, Option.INFO, m.info_request("no such export"))
    assert is_serving(disk), "a new client is not served after the clients of a round"
