"""This case checks that a discard that does nothing is accused only where zeroes were promised.

How: the target's discards do nothing; without the promise nobody may complain, with it everybody.
Guards: zero-via-nondeterministic-discard, discard-exposes-backing.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: none, iotype: discard, action: drop}]"


@case(groups="verify discard")
def test(new_disk, dual_write):
    for promise in (False, True):
        pair = dual_write(new_disk("1M"), rules=RULES, discard_reads_zero=promise)
        pair.ask("write", 65536, 65536)
        pair.ask("discard", 65536 + 4096, 8192)
        found = pair.verify()
        assert bool(found) == promise, found
        assert all(mismatch.offset >= 69632 for mismatch in found), found
        assert sum(mismatch.length for mismatch in found) == 8192 * promise, found
