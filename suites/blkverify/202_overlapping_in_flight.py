"""This case checks that requests in flight over the same bytes leave one of the right answers.

How: 600 requests, 16 at a time, on few places; where writes overlap either may win, and the
comparison permits both; nothing else.
Guards: overlap-deadlock, merge-after-issue, torn-write.
"""

from qbdcheck.kit import case


@case(groups="rw verify concurrent", formats="any")
def test(new_disk, dual_write, seed):
    disk = new_disk("2M")
    pair = dual_write(disk)
    weights = {"read": 3, "write": 6, "zero": 1, "discard": 1}
    pair.run(pair.workload(seed.stream("workload"), 600, weights=weights, depth=16, overlap=True,
                           hot=4))  # fmt: skip
    pair.check()
    dual_write.close()
    disk.verify()
