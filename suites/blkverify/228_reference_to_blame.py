"""This case checks that the target is not blamed for damage of the reference.

How: lost, misdirected and flipped writes below the reference. Every mismatch names the reference,
and the target's data is right.
Related: stale-replica-after-failover.
"""

from qbdcheck.kit import case

RULES = """
rules:
  - {event: write_aio, iotype: write, action: drop, after: 2, count: 1}
  - {event: write_aio, iotype: write, action: corrupt, after: 3, count: 1}
  - {event: write_aio, iotype: write, action: misdirect, by: 64, after: 5, count: 1}
"""


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    pair = dual_write(disk, rules=RULES, faulty="reference")
    for number in range(12):
        pair.ask("write", number * 65536, 4096)
    found = pair.verify()
    sides = {mismatch.side for mismatch in found}
    assert sides == {"reference"}, f"to blame: {sides}, expected the reference"
    damages = {mismatch.damage for mismatch in found}
    missing = {"never written", "bit flip", "misdirected"} - damages
    assert not missing, f"not found: {missing}; found: {damages}"
    dual_write.close()
    disk.verify()
