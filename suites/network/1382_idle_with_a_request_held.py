"""This case checks that a pause loses nothing while the backend holds a request.

How: the backend holds a write of one connection. The other one works, then nobody asks for anything
for a second, then the other works again. The held write is released, and both go on.
Guards: idle-write-lost, idle-read-fails, completion-without-wakeup.
Related: slow-write-done-again.
"""

from qbdcheck.kit import case
from qbdcheck.kit.idle import rest


@case(
    groups="rw concurrent protocol inject",
    requires="raw_requests multi_conn",
    basis=("POLICY: clients-do-not-disturb-each-other", "POLICY: request-holds-only-itself"),
)
def test(new_disk, nbd_io, rules, seed):
    disk = new_disk("1M")
    rest(disk, nbd_io, seed, (1.0,), rules.on(disk))
