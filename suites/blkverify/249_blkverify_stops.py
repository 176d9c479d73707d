"""This case checks that the dual write continues where QEMU's blkverify ends at a mismatch.

How: five damaged places. Blkverify reports the first and ends the process. The dual write reports
all five, with the kind of damage, after the same requests.
Related: silent-bit-flip, phantom-write.
"""

from oracles.workload import Kind, Request
from qbdcheck.kit import case

PLACES = (4096, 70_000, 200_000, 400_000, 900_000)
READS = [(Request(n, Kind.READ, n * 65536, 65536),) for n in range(16)]


@case(groups="verify rw quick", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    pair = dual_write(disk)
    for place in PLACES:
        pair.damage(place, bytes([pair.peek(place, 1)[0] ^ 255]))
    found = pair.run(READS)
    seen = [mismatch.finding.first_difference for mismatch in found]
    assert seen == list(PLACES), f"damage at {seen}, expected {PLACES}"
    dual_write.close()
    verdict = dual_write.by_qemu("blkverify", disk, READS)
    verdict.must_be("contents", "blkverify", at=PLACES[0], requests=0)
