"""This case checks that a write that is done after a later one is found where both went.

How: the target acknowledges a write and does it after the next one, to the same place.
Guards: destage-reorder, overlap-deadlock.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: reorder, after: 3, count: 1}]"


@case(groups="verify rw")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for place in (0, 8192, 16384, 32768, 32768, 65536):
        pair.ask("write", place, 4096)
    (mismatch,) = pair.verify()
    assert (mismatch.damage, mismatch.offset) == ("stale", 32768), mismatch
    assert "by write #4" in mismatch.text, mismatch
    assert mismatch.last_write == "#5 write 32768+4096", mismatch
