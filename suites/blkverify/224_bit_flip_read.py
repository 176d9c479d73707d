"""This case checks that a bit that flips in one read is found, although the next read is right.

How: the reply to one read of many has a wrong bit. The stored data is right.
Related: silent-bit-flip.
"""

from itertools import chain

from qbdcheck.kit import case

RULES = "rules: [{event: read_aio, iotype: read, action: corrupt, after: 10, count: 1}]"


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    found = [pair.ask("read", number * 4096, 4096) for number in range(20)]
    mismatch = pair.must_find_one(found.pop(10), damage="bit flip", side="target")
    request = str(mismatch.request)
    assert request == "#11 read 40960+4096", f"found by {request}, expected read #11"
    pair.must_find_none([*chain(*found), *pair.verify()])
