"""This case checks that no write in flight during a shrink shows behind the new end later.

How: clients with many writes in flight to the upper half while the volume shrinks. Each may succeed
or fail. The space of a later grow must be zeroes, and the rest intact.
Guards: geometry-change-stale-buffer, grow-exposes-old-data.
Related: oob-past-end, async-error-ignored.
"""

from contextlib import ExitStack

from qbdcheck.kit import NotRun, SetupError, case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.volume_limits import size_unit

MIB, BLOCK, CLIENTS, DEPTH = 1 << 20, 4096, 6, 40


@case(
    groups="model size concurrent quick",
    requires="nbd resize multi_conn",
    limit_s=30,
    basis="POLICY: grown-part-reads-zero",
)
def test(new_disk, nbd, target):
    unit, block = size_unit(target), max(BLOCK, target.minimum_block)
    half = -(-max(MIB, CLIENTS * DEPTH * block) // unit) * unit
    disk = new_disk(2 * half)
    for _ in range(3):
        with ExitStack() as stack:
            clients = [stack.enter_context(nbd(disk)) for _ in range(CLIENTS)]
            for number in range(CLIENTS * DEPTH):
                place = half + number * block
                data = disk.shadow.stamped(place, block)  # the shrink removes it
                clients[number % CLIENTS].send_request(Command.WRITE, place, block, payload=data)
            clients[0].receive_reply()
            try:
                disk.resize(half)
            except SetupError as error:
                raise NotRun(f"the target resizes only without clients: {error}") from error
            for number, client in enumerate(clients):
                for _ in range(DEPTH - (number == 0)):
                    try:
                        client.receive_reply()
                    except (OSError, EOFError) as error:
                        raise NotRun("the target ends connections when it resizes") from error
        disk.resize(2 * half)
        disk.verify()
