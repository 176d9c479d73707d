"""This case checks that a write that is done a second time, over newer data, is found.

How: the target repeats one write after the next one, which went to the same place.
Related: zombie-write-after-reconnect, late-request-after-quiesce.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: duplicate, after: 1, count: 1}]"


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for place in (0, 8192, 8192 + 4096, 65536):
        pair.ask("write", place, 8192)
    last = "#3 write 12288+8192"
    pair.must_find_one(pair.verify(), damage="stale", offset=12288, length=4096, last_write=last)
