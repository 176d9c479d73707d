"""This case checks that discards reach the target and are compared, where blkverify drops them.

How: a discard through blkverify succeeds and leaves the target's data unchanged. Through the dual
write the target gets it, and its effect is checked.
Related: discard-not-tracked, discard-exposes-backing.
"""

from oracles.workload import Kind, Request
from qbdcheck.kit import case


@case(groups="verify discard", requires="discard", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    discard = Request(1, Kind.DISCARD, 65536, 131072)
    verdict = dual_write.by_qemu("blkverify", disk, [(discard,)])
    verdict.must_be("", "a discard through blkverify", requests=1)
    disk.verify()

    pair = dual_write(disk)
    before = pair.peek(65536, 131072)
    pair.run([(discard,)])
    after = pair.peek(65536, 131072)
    assert after in {before, bytes(131072)}, "discarded 131072 bytes: neither old nor zeroes"
    pair.check()
    dual_write.close()
    disk.verify()
