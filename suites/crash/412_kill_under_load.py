"""This case checks that a backend killed under load restarts with all flushed data.

How: 20 times: writes and flushes of several connections, SIGKILL with requests in flight, a
restart, and a comparison of every byte. Flushed data is there, the rest is old or new.
Guards: flush-noop, close-drops-dirty, map-entry-shifted, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.kill_cycles import kill_cycle

CYCLES = 20


@case(
    groups="flush crash concurrent slow",
    requires="raw_requests flush kill",
    limit_s=60,
    basis="MUST: NBD, NBD_CMD_FLUSH",
)
def test(new_disk, nbd_io, seed):
    disk = new_disk("2M")
    random = seed.stream("workload")
    for _ in range(CYCLES):
        kill_cycle(disk, nbd_io, random)
