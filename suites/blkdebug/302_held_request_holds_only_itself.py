"""This case checks that a request that the backend holds does not block other clients.

How: a write hangs in the backend. Another client reads, writes and flushes meanwhile. Then the
request is resumed and its data must be there.
Guards: overlap-deadlock, split-pool-deadlock, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.expectations import expect_equal, expect_same
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import expect_success, read_range

START, LENGTH = 2 << 20, 4096


@case(groups="errors concurrent protocol quick", requires="nbd flush multi_conn")
def test(disk, nbd, rules):
    place = {"sector": START // 512, "iotype": "write"}
    held = rules.add({"event": "write_aio", "action": "hang", **place})
    shadow = disk.shadow
    with nbd(disk) as waiting, nbd(disk) as other:
        data = shadow.stamped(START, LENGTH)
        cookie = waiting.send_request(Command.WRITE, START, LENGTH, payload=data)
        while not rules.seen(held).held:
            pause(0.002)
        for number in range(20):
            offset = number * 65536
            mine = shadow.stamped(offset, LENGTH)
            other.write(offset, mine)
            shadow.write(offset, mine)
            expect_same(
                read_range(other, offset, LENGTH),
                mine,
                f"READ of {LENGTH} bytes at offset {offset} during the hold",
            )
        other.flush()
        expect_equal(rules.resume(held), 1, "the number of held requests")
        expect_success(waiting, cookie, Command.WRITE, START, LENGTH)
        shadow.write(START, data)
    disk.verify()
