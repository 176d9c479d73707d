"""This case checks that one wrong bit in stored data is found, with its byte.

How: one bit of a write of 64 KiB flips on its way to the target.
Related: silent-bit-flip.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: corrupt, once: true}]"


@case(groups="verify rw quick", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    pair.ask("write", 4096, 65536)
    mismatch = pair.must_find_one(
        pair.verify(), side="target", damage="bit flip", last_write="#1 write 4096+65536"
    )
    wrong = int.from_bytes(mismatch.target) ^ int.from_bytes(mismatch.reference)
    assert wrong.bit_count() == 1, f"{wrong.bit_count()} bits differ, expected one:\n{mismatch}"
