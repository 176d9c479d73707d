"""This case checks that a request costs about the same on a small and on a very large volume.

How: the CPU time of the server for reads and writes of 4 KiB, spread over a volume of 64 MiB and
over one of 100 TiB, or the largest that the target makes. It may be 20 times as much, for caches
that are too small; a cost that grows with the size would be a million times as much.
Guards: cost-grows-with-volume.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.request_cost import cost_us, must_not_grow, places
from qbdcheck.kit.volume_limits import first_possible

SIZES = (100 << 40, *(1 << bits for bits in range(46, 30, -4)))
PLACES = 240


@case(groups="size perf", requires="raw_requests", basis="POLICY: cost-of-a-request-is-bounded")
def test(new_disk, nbd, target, log):
    costs = []
    for disk in (new_disk("64M", prefill=False), first_possible(target, SIZES, log)):
        offsets = places(disk.size, PLACES)
        client = nbd(disk)
        commands = (Command.WRITE, Command.READ)
        costs.append([cost_us(disk, client, command, offsets) for command in commands])
        log(f"{disk.size} bytes: write and read cost {costs[-1]} us")
    for small, large, name in zip(*costs, ("write", "read"), strict=True):
        must_not_grow(small, large, 20, f"{name} on a small and on a large volume")
