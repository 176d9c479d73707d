"""This case checks that a request costs about the same when a volume has thousands of pieces.

How: every second block of 4 KiB is written, so that data and holes alternate: first 16 pieces, then
2048. The CPU time of the server per read and write of one piece may be 10 times as much then. A
search through all pieces would cost 128 times as much.
Guards: cost-grows-with-fragments.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.request_cost import BLOCK, cost_us, costs_us, must_not_grow

FEW, MANY = 16, 2048


@case(groups="rw perf", requires="raw_requests", basis="POLICY: cost-of-a-request-is-bounded")
def test(new_disk, nbd, log):
    disk = new_disk(2 * BLOCK * MANY, prefill=False)
    client = nbd(disk)
    pieces = [2 * BLOCK * number for number in range(MANY)]
    few = costs(disk, client, pieces[:FEW])
    costs_us(disk, [client], Command.WRITE, pieces, batches=1, batch=MANY // 2)
    many = costs(disk, client, pieces[:: MANY // 240])
    log(f"write and read cost {few} us with {FEW} pieces, {many} us with {MANY}")
    for before, after, name in zip(few, many, ("write", "read"), strict=True):
        must_not_grow(before, after, 10, f"{name} among {FEW} and among {MANY} pieces")


def costs(disk, client, offsets):
    return [cost_us(disk, client, command, offsets) for command in (Command.WRITE, Command.READ)]
