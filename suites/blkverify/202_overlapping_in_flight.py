"""This case checks that overlapping requests in flight leave one of the permitted results.

How: 600 requests, 16 at a time, on few places. Where writes overlap, either may win; the comparison
permits both, and nothing else.
Related: overlap-deadlock, merge-after-issue, torn-write.
"""

from qbdcheck.kit import case


@case(groups="rw verify concurrent", formats="any", basis="POLICY: overlapping-writes-leave-one")
def test(new_disk, dual_write, seed):
    disk = new_disk("2M")
    pair = dual_write(disk)
    weights = {"read": 3, "write": 6, "zero": 1, "discard": 1}
    pair.run(pair.workload(seed.stream("workload"), 600, weights=weights, depth=16, overlap=True,
                           hot=4))  # fmt: skip
    pair.check()
    dual_write.close()
    disk.verify()
