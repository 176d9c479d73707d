"""This case checks that each write to one block from many connections is there or overwritten.

How: six clients write and read single sectors and the whole of one block of 4096 bytes. A read that
mixes an old with a new half, or loses a neighbouring sector, contradicts its history.
Related: capability-bit-collision, merge-after-issue, torn-write, thin-alloc-toctou.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan


@case(
    groups="model concurrent",
    requires="raw_requests multi_conn",
    basis="POLICY: requests-take-effect-at-one-moment",
)
def test(new_disk, model):
    disk = new_disk("4k", prefill=False)
    plan = Plan(size=4096, requests=250, depth=4, lengths=(1, 1, 8), share=0.5, fua=0.1)
    for round_ in range(2):
        model.record(disk, 6, plan, round_)
