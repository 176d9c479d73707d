"""This case checks that a request costs about the same when a volume has many snapshots.

How: a part of the volume is written before each of 24 snapshots, so that the newest data of its
blocks is spread over them. The CPU time of the server per read and write may be 8 times as much
as after the first snapshot. A search through each snapshot would cost 24 times as much.
Guards: cost-grows-with-snapshots.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.request_cost import BLOCK, cost_us, must_not_grow, places

SNAPSHOTS = 24


@case(
    groups="snapshot perf",
    requires="raw_requests snapshot",
    basis="POLICY: cost-of-a-request-is-bounded",
)
def test(new_disk, nbd, log):
    disk = new_disk("16M", prefill=False)
    client, offsets, costs = nbd(disk), places(16 << 20, 240), []
    for number in range(SNAPSHOTS):
        for offset in offsets[number % 24 :: 24]:
            client.write(offset, b"s" * BLOCK)
        disk.backend.snapshot(f"s{number}")
        if number in {0, SNAPSHOTS - 1}:
            commands = (Command.READ, Command.WRITE)
            costs.append([cost_us(disk, client, command, offsets) for command in commands])
            log(f"{number + 1} snapshots: read and write cost {costs[-1]} us")
    for one, many, name in zip(*costs, ("read", "write"), strict=True):
        must_not_grow(one, many, 8, f"{name} with 1 and with {SNAPSHOTS} snapshots")
