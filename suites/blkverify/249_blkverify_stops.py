"""This case checks that the dual write goes on where QEMU's blkverify ends at the first mismatch.

How: five damaged places; blkverify tells of the first and ends the process; the dual write tells of
all five, with what is wrong in each, after the same requests.
Guards: silent-bit-flip, phantom-write.
"""

from oracles.workload import Kind, Request
from qbdcheck.kit import case

PLACES = (4096, 70_000, 200_000, 400_000, 900_000)
READS = [(Request(n, Kind.READ, n * 65536, 65536),) for n in range(16)]


@case(groups="verify rw quick")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    pair = dual_write(disk)
    for place in PLACES:
        pair.damage(place, bytes([pair.peek(place, 1)[0] ^ 255]))
    found = pair.run(READS)
    assert [mismatch.finding.first_difference for mismatch in found] == list(PLACES), found
    dual_write.close()
    verdict = dual_write.by_qemu("blkverify", disk, READS)
    assert (verdict.what, verdict.at, verdict.requests) == ("contents", PLACES[0], 0), verdict
