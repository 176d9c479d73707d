"""This case checks that every sequence of two operations survives a crash and a new connection.

How: writes, FUA writes, zeroes and discards at two blocks, aligned and not, and flushes: all
sequences of one and two (--depth N: of N), each with every kind of end. The log has their number.
Guards: flush-noop, fua-write-ack-early, zero-unmap-not-durable.
Related: alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case


@case(
    groups="model rw flush crash slow",
    requires="raw_requests flush",
    limit_s=600,
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, model, log):
    log(model.try_all(model.over_nbd(new_disk(model.BLOCKS_SIZE, prefill=False)), depth=2))
