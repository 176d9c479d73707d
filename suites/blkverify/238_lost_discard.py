"""This case checks that a discard that does nothing is an error only if zeroes are promised.

How: the target's discards do nothing. Without the promise there is no mismatch, with it there is
one for each discarded byte.
Related: zero-via-nondeterministic-discard, discard-exposes-backing.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: none, iotype: discard, action: drop}]"


@case(groups="verify discard", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    for promise in (False, True):
        pair = dual_write(new_disk("1M"), rules=RULES, discard_reads_zero=promise)
        pair.ask("write", 65536, 65536)
        pair.ask("discard", 65536 + 4096, 8192)
        found = pair.verify()
        length = sum(mismatch.length for mismatch in found)
        wanted = 8192 * promise
        assert length == wanted, f"promise {promise}: {length} bytes differ, expected {wanted}"
        low = min((mismatch.offset for mismatch in found), default=69632)
        assert low == 69632, f"the discard starts at 69632, the damage at {low}"
