"""This case checks that a request that the backend holds does not block other clients.

How: a write hangs in the backend. Another client reads, writes and flushes meanwhile. Then the
request is resumed and its data must be there.
Guards: inflight-hang-on-disconnect.
Related: overlap-deadlock, split-pool-deadlock.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.nbd import Command

START, LENGTH = 2 << 20, 4096


@case(
    groups="errors concurrent protocol quick",
    requires="nbd flush multi_conn",
    basis="POLICY: request-holds-only-itself",
)
def test(disk, nbd_io, rules):
    place = {"sector": START // 512, "iotype": "write"}
    held = rules.add({"event": "write_aio", "action": "hang", **place})
    with nbd_io(disk) as waiting, nbd_io(disk) as other:
        waiting.send(Command.WRITE, START, LENGTH)
        while not rules.seen(held).held:
            pause(0.002)
        for number in range(20):
            offset = number * 65536
            other.write(offset, LENGTH)
            other.read(offset, LENGTH)
        other.flush()
        expect_equal(rules.resume(held), 1, "the number of held requests")
        waiting.finish_all()
    disk.verify()
