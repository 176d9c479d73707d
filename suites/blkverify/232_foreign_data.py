"""This case checks that another volume's data on the target is named foreign.

How: data of a second volume is written to the same place of the target, past the comparison.
Related: wrong-volume-or-lun, previous-tenant-data.
"""

from qbdcheck.kit import case


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    other = dual_write(new_disk("1M"))
    pair = dual_write(new_disk("1M"))
    pair.damage(32768, other.peek(32768, 4096))
    found = pair.verify()
    pair.must_find_one(found, damage="foreign", side="target", offset=32768, length=4096)
    other.must_find_none(other.verify())
