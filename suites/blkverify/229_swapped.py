"""This case checks that two sectors that hold each other's data are named swapped.

How: two sectors of one write are exchanged on the target, past the comparison.
Guards: map-entry-shifted.
Related: iov-offset-ignored.
"""

from qbdcheck.kit import case


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"))
    pair.ask("write", 4096, 8192)
    one, other = pair.peek(4608, 512), pair.peek(8192, 512)
    pair.damage(4608, other)
    pair.damage(8192, one)
    found = pair.verify()
    seen = [(mismatch.damage, mismatch.sector) for mismatch in found]
    assert seen == [("swapped", 9), ("swapped", 16)], f"sectors 9 and 16 are swapped, found {seen}"
