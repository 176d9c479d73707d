"""This case checks that blkverify and quorum find nothing where the dual write finds nothing.

How: a workload of reads, writes and flushes, first compared by the dual write, then sent to QEMU's
blkverify and to quorum with blkverify=on, over the target and a raw copy.
Guards: phantom-write, misdirected-write.
"""

from qbdcheck.kit import case


@case(groups="verify rw", basis=("MUST: QAPI, BlockdevOptionsBlkverify", "MUST: NBD, NBD_CMD_READ"))
def test(new_disk, dual_write, seed):
    disk = new_disk("1M")
    pair = dual_write(disk)
    weights = {"read": 4, "write": 5, "flush": 1}
    batches = pair.workload(seed.stream("workload"), 100, weights=weights, longest=8192)
    pair.run(batches)
    pair.check()
    dual_write.close()
    for driver in ("blkverify", "quorum"):
        verdict = dual_write.by_qemu(driver, disk, batches)
        verdict.must_be("", f"{driver} on a right target", requests=100)
        # The workload wrote patterns there: restore the stamps.
        restored = dual_write(disk)
        restored.start_again()
        dual_write.close()
