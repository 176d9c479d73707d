"""This case checks that a write that is done after a later one is found where both went.

How: the target acknowledges a write and does it after the next one, to the same place.
Related: destage-reorder, overlap-deadlock.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: reorder, after: 3, count: 1}]"


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for place in (0, 8192, 16384, 32768, 32768, 65536):
        pair.ask("write", place, 4096)
    last = "#5 write 32768+4096"
    mismatch = pair.must_find_one(pair.verify(), damage="stale", offset=32768, last_write=last)
    assert "by write #4" in mismatch.text, f"the report does not name write #4:\n{mismatch}"
