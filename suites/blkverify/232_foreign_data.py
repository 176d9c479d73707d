"""This case checks that another volume's data on the target is named foreign.

How: what a second volume holds at the same place is put on the target behind its back.
Guards: wrong-volume-or-lun, previous-tenant-data.
"""

from qbdcheck.kit import case


@case(groups="verify rw")
def test(new_disk, dual_write):
    other = dual_write(new_disk("1M"))
    pair = dual_write(new_disk("1M"))
    pair.damage(32768, other.peek(32768, 4096))
    (mismatch,) = pair.verify()
    assert (mismatch.damage, mismatch.side) == ("foreign", "target"), mismatch
    assert (mismatch.offset, mismatch.length) == (32768, 4096), mismatch
    assert not other.verify()
