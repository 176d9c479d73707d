"""This case checks that two volumes of the target, A and B, stay equal under the same workload.

How: 400 requests, 16 in flight on each of the two volumes at once.
Related: wrong-volume-or-lun, cross-connection-state, shared-cursor-race.
"""

from qbdcheck.kit import case


@case(groups="rw verify concurrent", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, dual_write, seed):
    volume_a = new_disk("2M", name="A")
    volume_b = new_disk("2M", name="B", prefill=False)
    volume_b.shadow = volume_a.shadow
    volume_b.prefill()
    pair = dual_write(volume_a, reference=volume_b)
    weights = {"read": 4, "write": 6, "zero": 1}
    pair.run(pair.workload(seed.stream("workload"), 400, weights=weights, depth=16))
    pair.verify()
    text = "\n".join(map(str, pair.mismatches))
    text = text.replace("target", "volume A").replace("reference", "volume B")
    assert not text, f"{len(pair.mismatches)} differences of the volumes A and B:\n{text}"
    volume_a.verify()
    volume_b.verify()
