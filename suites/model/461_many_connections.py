"""This case checks that clients on separate connections see one another's writes at once.

How: four clients, each with requests in flight, on the same sectors. The history of each sector
must be linearizable: no client may read what another overwrote before the read began.
Guards: per-client-cache-stale, multi-conn-incoherent, shared-cursor-race, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan


@case(
    groups="model concurrent quick",
    requires="raw_requests multi_conn",
    basis=("MUST: NBD, Transmission flags", "POLICY: requests-take-effect-at-one-moment"),
)
def test(new_disk, model):
    disk = new_disk("32k", prefill=False)
    for round_ in range(2):
        model.record(disk, 4, Plan(requests=300, flushes=0.02), round_)
