"""This case checks that a flush covers exactly what was answered before it, on busy connections.

How: four connections write all the time; one flushes while the others have writes in flight; power
fails right after the flush's reply. What was answered before the flush was sent is there.
Guards: flush-skip-generation-race, multi-conn-incoherent, flush-one-child-only.
"""

from contextlib import ExitStack

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

LENGTH = 8192


@case(groups="concurrent flush crash protocol", requires="nbd flush multi_conn crash")
def test(new_disk, nbd, seed):
    disk = new_disk("4M")
    shadow = disk.shadow
    for round_ in range(5):
        with ExitStack() as stack:
            clients = [stack.enter_context(nbd(disk)) for _ in range(4)]
            flights = []
            for number, client in enumerate(clients):
                for step in range(8):
                    offset = (number * 16 + step) * 3 * LENGTH + round_ * 1024
                    data = shadow.stamped(offset, LENGTH)
                    client.write(offset, data)
                    shadow.write(offset, data)
            for number, client in enumerate(clients):
                offset = number * 16 * 3 * LENGTH + 100 * 512
                data = shadow.stamped(offset, LENGTH)
                cookie = client.send_request(Command.WRITE, offset, LENGTH, payload=data)
                flights.append((client, cookie, offset, data))
            clients[round_ % 4].call(Command.FLUSH, 0, 0)
            shadow.flush()
            for client, cookie, offset, data in flights:
                assert not client.receive_reply(cookie).error
                shadow.write(offset, data)
            disk.backend.crash(seed=seed + round_)
        disk.verify()
