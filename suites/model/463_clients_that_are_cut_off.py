"""This case checks that a write of a client that was cut off happens once or not, and never later.

How: clients work while one after another loses its connection with writes in flight. Those writes
may have happened or not, but what was overwritten since must not come back.
Guards: zombie-write-after-reconnect, stale-replica-after-failover, close-drops-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan


@case(groups="model concurrent", requires="raw_requests multi_conn", basis="POLICY: no-late-write")
def test(new_disk, model):
    disk = new_disk("32k", prefill=False)
    model.record_with_losses(disk, 4, Plan(requests=400, depth=8, share=0.6), rounds=4)
