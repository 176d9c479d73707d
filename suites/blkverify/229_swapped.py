"""This case checks that two sectors that hold each other's data are named swapped.

How: two sectors of one write are exchanged on the target behind the comparison's back.
Guards: map-entry-shifted, iov-offset-ignored.
"""

from qbdcheck.kit import case


@case(groups="verify rw")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"))
    pair.ask("write", 4096, 8192)
    one, other = pair.peek(4608, 512), pair.peek(8192, 512)
    pair.damage(4608, other)
    pair.damage(8192, one)
    found = pair.verify()
    assert [mismatch.damage for mismatch in found] == ["swapped", "swapped"], found
    assert [mismatch.sector for mismatch in found] == [9, 16], found
