"""This case checks that data that became zeroes is named zeroed, with what should be there.

How: 3 sectors in the middle of a write are zeroed on the target behind the comparison's back.
Guards: discard-overreach, missing-object-zero-fill, false-zero-init.
"""

from qbdcheck.kit import case


@case(groups="verify rw zero")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"))
    pair.ask("write", 4096, 65536)
    pair.damage(8192, bytes(1536))
    found = pair.verify()
    assert {mismatch.damage for mismatch in found} == {"zeroed"}, found
    assert (found[0].offset, sum(mismatch.length for mismatch in found)) == (8192, 1536), found
    assert found[0].target == bytes(16) != found[0].reference, found
    assert "write #1" in found[0].text, found
