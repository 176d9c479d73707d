"""This case checks that large requests of many connections at the same time all end.

How: five clients read and write up to 512 KiB of the same 1 MiB, several in flight each, so that a
server that splits requests runs out of resources. The history must be linearizable.
Guards: split-pool-deadlock, nomem-never-retried, short-read-resume-offset.
Related: overlap-deadlock, iov-offset-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan


@case(
    groups="model concurrent quick",
    requires="raw_requests multi_conn",
    limit_s=30,
    basis="POLICY: request-holds-only-itself",
)
def test(new_disk, model):
    disk = new_disk("1M", prefill=False)
    plan = Plan(size=1 << 20, requests=24, depth=3, lengths=(160, 256, 1024), share=0.6)
    model.record(disk, 5, plan, 0)
