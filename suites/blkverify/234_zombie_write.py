"""This case checks that a write that comes a second time, over newer data, is found.

How: the target does one write again after the next one, which went to the same place.
Guards: zombie-write-after-reconnect, late-request-after-quiesce.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: duplicate, after: 1, count: 1}]"


@case(groups="verify rw")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for place in (0, 8192, 8192 + 2048, 65536):
        pair.ask("write", place, 4096)
    (mismatch,) = pair.verify()
    assert (mismatch.damage, mismatch.offset, mismatch.length) == ("stale", 10240, 2048), mismatch
    assert mismatch.last_write == "#3 write 10240+4096", mismatch
