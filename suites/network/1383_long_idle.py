"""This case checks that pauses of 5 and 25 seconds lose nothing, with and without a held request.

How: as the cases 1356 and 1382, for the limits of 5 to 25 s that servers have for idle connections.
Guards: idle-write-lost, idle-read-fails, completion-without-wakeup, slow-write-done-again.
"""

from qbdcheck.kit import case
from qbdcheck.kit.idle import rest

PAUSES_S = (5.0, 25.0)


@case(
    groups="rw concurrent protocol inject nightly",
    requires="raw_requests multi_conn",
    limit_s=180,
    basis=("POLICY: clients-do-not-disturb-each-other", "POLICY: request-holds-only-itself"),
)
def test(new_disk, nbd_io, rules, seed):
    disk = new_disk("1M")
    rest(disk, nbd_io, seed, PAUSES_S)
    rest(disk, nbd_io, seed, PAUSES_S, rules.on(disk))
