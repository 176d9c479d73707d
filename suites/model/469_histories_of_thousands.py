"""This case checks that tens of thousands of requests of many clients have one order of writes.

How: rounds of five clients on few sectors, with requests in flight, of whole blocks and of less.
Connections end and are made again between rounds. One order of all writes must explain what each
read of a sector returned.
Guards: shared-cursor-race, multi-conn-incoherent, per-client-cache-stale, merge-after-issue,
overlap-deadlock, zombie-write-after-reconnect, close-drops-dirty, thin-alloc-toctou.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan

ROUNDS, CLIENTS = 14, 5
PLANS = (
    Plan(size=16 << 10, requests=700, lengths=(1, 1, 2, 8), share=0.5),
    Plan(size=64 << 10, requests=500, lengths=(8, 8, 16), share=0.5, flushes=0.02),
)


@case(
    groups="model concurrent slow nightly",
    requires="raw_requests multi_conn",
    limit_s=400,
    basis="POLICY: requests-take-effect-at-one-moment",
)
def test(new_disk, model):
    disk = new_disk("64k", prefill=False)
    for round_ in range(ROUNDS):
        for number, plan in enumerate(PLANS):
            model.record(disk, CLIENTS, plan, round_ * len(PLANS) + number)
