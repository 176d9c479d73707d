"""This case checks that a pause of a second loses nothing.

How: bursts of writes, reads and flushes on two connections, then nothing for a second, then bursts
again, twice. The first request after a pause is a write, then a read, on either connection.
Guards: idle-write-lost, idle-read-fails.
"""

from qbdcheck.kit import case
from qbdcheck.kit.idle import rest


@case(
    groups="rw concurrent protocol",
    requires="raw_requests",
    basis="POLICY: clients-do-not-disturb-each-other",
)
def test(new_disk, nbd_io, seed):
    rest(new_disk("1M"), nbd_io, seed, (1.0, 1.0))
