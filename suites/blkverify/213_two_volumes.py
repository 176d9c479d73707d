"""This case checks that two volumes of the target stay equal under the same workload.

How: the second volume is the reference; 400 requests, 16 in flight on each of the two at once.
Guards: wrong-volume-or-lun, cross-connection-state, shared-cursor-race.
"""

from qbdcheck.kit import case


@case(groups="rw verify concurrent")
def test(new_disk, dual_write, seed):
    disk, other = new_disk("2M"), new_disk("2M", prefill=False)
    other.shadow = disk.shadow
    other.prefill()
    pair = dual_write(disk, reference=other)
    weights = {"read": 4, "write": 6, "zero": 1}
    pair.run(pair.workload(seed.stream("workload"), 400, weights=weights, depth=16))
    pair.check()
    disk.verify()
    other.verify()
