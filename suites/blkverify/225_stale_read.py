"""This case checks that a read that returns older data is named stale.

How: a place is written twice. A read then gets the data of the first write, and the next read that
of the second.
Related: per-client-cache-stale, stale-replica-after-failover.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: read_aio, iotype: read, action: stale, once: true}]"


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    pair.ask("write", 8192, 4096)
    pair.ask("write", 8192, 4096)
    found = pair.ask("read", 0, 65536)
    mismatch = pair.must_find_one(found, side="target", damage="stale", offset=8192, length=4096)
    writes = "by write #1, expected 2 by write #2"
    assert writes in mismatch.text, f"the report does not name both writes:\n{mismatch}"
    pair.must_find_none(pair.verify())
