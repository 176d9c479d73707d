"""This case checks that a write that was done in part is found with the part that is missing.

How: of one write of 16 sectors only the first three are done.
Guards: torn-write, short-read-resume-offset.
"""

from qbdcheck.kit import case

RULES = """
rules:
  - {event: write_aio, iotype: write, action: torn, keep: first-sectors, sectors: 3, once: true}
"""


@case(groups="verify rw")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    pair.ask("write", 65536, 8192)
    (mismatch,) = pair.verify()
    assert (mismatch.offset, mismatch.length) == (65536 + 3 * 512, 13 * 512), mismatch
    assert (mismatch.side, mismatch.damage) == ("target", "never written"), mismatch
    assert mismatch.last_write == "#1 write 65536+8192", mismatch
