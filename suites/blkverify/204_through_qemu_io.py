"""This case checks that QEMU's own driver, through qemu-io, gives the results of a raw reference.

How: 120 requests of all kinds and alignments, one at a time, on the target's blockdev.
Guards: phantom-write, write-zeroes-noop, iov-offset-ignored.
"""

from qbdcheck.kit import case


@case(
    groups="rw verify",
    requires="write_zeroes discard",
    formats="raw qcow2 vdi vmdk qed",
    basis="MUST: NBD, NBD_CMD_READ",
)
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk("2M"), through="qemu-io")
    pair.run(pair.workload(seed.stream("workload"), 120, longest=16384))
    pair.check()
