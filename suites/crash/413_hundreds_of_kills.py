"""This case checks that a backend killed hundreds of times under load loses no flushed data.

How: as 412, for 300 cycles on one volume, to find what is rare in one cycle.
Guards: flush-noop, close-drops-dirty, map-entry-shifted, torn-write, journal-slot-overlap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.kill_cycles import kill_cycle

CYCLES = 300


@case(
    groups="flush crash concurrent slow disabled",
    requires="raw_requests flush kill",
    limit_s=600,
    basis="MUST: NBD, NBD_CMD_FLUSH",
)
def test(new_disk, nbd_io, seed, log):
    disk = new_disk("2M")
    random = seed.stream("workload")
    for cycle in range(CYCLES):
        kill_cycle(disk, nbd_io, random)
        if cycle % 50 == 49:
            log(f"{cycle + 1} cycles")
