"""This case checks that a read that returns what was there before is named stale.

How: a place is written twice; a read then gets the first write's data, and the one after it the
second's.
Guards: per-client-cache-stale, stale-replica-after-failover.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: read_aio, iotype: read, action: stale, once: true}]"


@case(groups="verify rw")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    pair.ask("write", 8192, 4096)
    pair.ask("write", 8192, 4096)
    (mismatch,) = pair.ask("read", 0, 65536)
    assert (mismatch.side, mismatch.damage) == ("target", "stale"), mismatch
    assert "by write #1, expected 2 by write #2" in mismatch.text, mismatch
    assert (mismatch.offset, mismatch.length) == (8192, 4096), mismatch
    assert not pair.verify()
