"""This case checks that data that moved by some bytes is named shifted, with the distance.

How: one sector on the target is written again, 24 bytes too high.
Related: iov-offset-ignored, structured-read-gap.
"""

from qbdcheck.kit import case


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"))
    pair.ask("write", 4096, 4096)
    data = pair.peek(6144, 512)
    pair.damage(6144, bytes(24) + data[:-24])
    mismatch = pair.must_find_one(pair.verify(), damage="shifted", sector=12)
    assert "24" in mismatch.text, f"the report does not name the 24 bytes:\n{mismatch}"
