"""This case checks that every sequence of three operations survives a crash and a new connection.

How: as 452, one operation longer.
Guards: flush-noop, fua-write-ack-early, zero-unmap-not-durable, alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case


@case(
    groups="model rw flush crash slow disabled",
    requires="raw_requests flush",
    limit_s=900,
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, model, log):
    log(model.try_all(model.over_nbd(new_disk(model.BLOCKS_SIZE, prefill=False)), depth=3))
