"""This case checks that the target is not blamed for what the reference does wrong.

How: the same faults under the reference: lost, misdirected and flipped; every mismatch names the
reference, and the target's data is judged right.
Guards: stale-replica-after-failover.
"""

from qbdcheck.kit import case

RULES = """
rules:
  - {event: write_aio, iotype: write, action: drop, after: 2, count: 1}
  - {event: write_aio, iotype: write, action: corrupt, after: 3, count: 1}
  - {event: write_aio, iotype: write, action: misdirect, by: 64, after: 5, count: 1}
"""


@case(groups="verify rw")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    pair = dual_write(disk, rules=RULES, faulty="reference")
    for number in range(12):
        pair.ask("write", number * 65536, 4096)
    found = pair.verify()
    assert {mismatch.side for mismatch in found} == {"reference"}, found
    assert {"never written", "bit flip", "misdirected"} <= {one.damage for one in found}, found
    dual_write.close()
    disk.verify()
