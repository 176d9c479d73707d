"""This case checks that discards reach the target and are compared, where blkverify drops them.

How: a discard through blkverify succeeds and leaves the target's data there; through the dual write
the target gets it, and what it does is judged.
Guards: discard-not-tracked, discard-exposes-backing.
"""

from oracles.workload import Kind, Request
from qbdcheck.kit import case


@case(groups="verify discard", requires="discard")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    discard = Request(1, Kind.DISCARD, 65536, 131072)
    verdict = dual_write.by_qemu("blkverify", disk, [(discard,)])
    assert (verdict.what, verdict.requests) == ("", 1), verdict
    disk.verify()

    pair = dual_write(disk)
    before = pair.peek(65536, 131072)
    pair.run([(discard,)])
    after = pair.peek(65536, 131072)
    assert after in {before, bytes(131072)}
    pair.check()
    dual_write.close()
    disk.verify()
