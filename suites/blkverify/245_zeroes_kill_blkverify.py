"""This case checks that zeroes are compared, where QEMU's blkverify aborts.

How: 20 WRITE_ZEROES. The dual write compares them and finds nothing. The first one ends blkverify
by SIGABRT (QEMU 7.2: an assertion on supported_zero_flags). Quorum accepts them.
Guards: write-zeroes-noop.
"""

from qbdcheck.kit import case


@case(groups="verify zero", requires="write_zeroes", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, seed):
    disk = new_disk("1M")
    pair = dual_write(disk)
    batches = pair.workload(seed.stream("zeroes"), 20, weights={"zero": 1}, align=512, longest=8192)
    pair.run(batches)
    pair.check()
    dual_write.close()
    verdict = dual_write.by_qemu("blkverify", disk, batches)
    verdict.must_be("died", "blkverify, the first write zeroes", requests=0)
    aborted = "SIGABRT" in verdict.text or "Abort" in verdict.text
    assert aborted, f"blkverify ended otherwise than by SIGABRT: {verdict.text}"
    verdict = dual_write.by_qemu("quorum", disk, batches)
    verdict.must_be("", "quorum, 20 write zeroes", requests=20)
