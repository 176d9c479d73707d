"""This case checks that all faults of a run are found, each once, or only the first if asked.

How: 12 of 40 writes are lost, and their places are read several times. QEMU's blkverify ends at the
first.
Guards: phantom-write.
"""

import pytest

from oracles.dual_write import Stopped
from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: drop, every: 3, count: 12}]"


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for number in range(40):
        pair.ask("write", number * 16384, 4096)
    for _ in range(3):
        pair.ask("read", 0, 256 << 10)
        pair.verify()
    seen = [mismatch.offset for mismatch in pair.mismatches]
    lost = [number * 16384 for number in range(0, 36, 3)]
    assert seen == lost, f"mismatches at {seen}, expected one at each of {lost}"

    first = dual_write(new_disk("1M"), rules=RULES, stop_at_first=True)
    first.ask("write", 0, 4096)
    first.ask("write", 8192, 4096)
    with pytest.raises(Stopped, match="never written"):
        first.ask("read", 0, 65536)
    first.must_find_one(first.mismatches, damage="never written")
