"""This case checks that a bit that flips in one read is found although the next read is right.

How: one read of many is answered with a wrong bit; nothing that is stored is wrong.
Guards: silent-bit-flip.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: read_aio, iotype: read, action: corrupt, after: 10, count: 1}]"


@case(groups="verify rw")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    found = [pair.ask("read", number * 4096, 4096) for number in range(20)]
    assert [len(mismatches) for mismatches in found] == [0] * 10 + [1] + [0] * 9, found
    (mismatch,) = found[10]
    assert (mismatch.damage, mismatch.side) == ("bit flip", "target"), mismatch
    assert str(mismatch.request) == "#11 read 40960+4096", mismatch
    assert not pair.verify()
