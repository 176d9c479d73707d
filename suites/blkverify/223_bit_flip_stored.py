"""This case checks that one bit that is stored wrong is found, and named with its byte.

How: a write of 64 KiB has one bit flipped on its way to the target.
Guards: silent-bit-flip.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: corrupt, once: true}]"


@case(groups="verify rw quick")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    pair.ask("write", 4096, 65536)
    (mismatch,) = pair.verify()
    assert (mismatch.side, mismatch.damage) == ("target", "bit flip"), mismatch
    wrong = int.from_bytes(mismatch.target) ^ int.from_bytes(mismatch.reference)
    assert wrong.bit_count() == 1, mismatch
    assert mismatch.last_write == "#1 write 4096+65536", mismatch
