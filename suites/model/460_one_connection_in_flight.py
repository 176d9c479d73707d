"""This case checks that each request in flight on one connection takes effect at one moment.

How: reads and writes of the same few sectors, 16 in flight, recorded with call and return. The
history of each sector must be linearizable, and no sector may mix two writes.
Guards: merge-after-issue.
Related: thin-alloc-toctou, shared-cursor-race, overlap-deadlock.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan


@case(
    groups="model concurrent",
    requires="raw_requests",
    basis="POLICY: requests-take-effect-at-one-moment",
)
def test(new_disk, model):
    disk = new_disk("32k", prefill=False)
    for round_ in range(3):
        model.record(disk, 1, Plan(requests=600, depth=16, lengths=(1, 3, 8)), round_)
