"""This case checks that write-zeroes are compared, where QEMU's blkverify aborts.

How: 20 write-zeroes: compared by the dual write without a word; the first one ends blkverify by
SIGABRT (QEMU 7.2: an assertion on supported_zero_flags); quorum can take them.
Guards: write-zeroes-noop.
"""

from qbdcheck.kit import case


@case(groups="verify zero", requires="write_zeroes")
def test(new_disk, dual_write, seed):
    disk = new_disk("1M")
    pair = dual_write(disk)
    batches = pair.workload(seed.stream("zeroes"), 20, weights={"zero": 1}, align=512, longest=8192)
    pair.run(batches)
    pair.check()
    dual_write.close()
    verdict = dual_write.by_qemu("blkverify", disk, batches)
    assert verdict.what == "died" and verdict.requests == 0, verdict
    assert "SIGABRT" in verdict.text or "Abort" in verdict.text, verdict
    verdict = dual_write.by_qemu("quorum", disk, batches)
    assert (verdict.what, verdict.requests) == ("", 20), verdict
