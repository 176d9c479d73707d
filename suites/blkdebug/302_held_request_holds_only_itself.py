"""This case checks that a request that the backend holds does not keep other clients waiting.

How: a write hangs in the backend; another client reads, writes and flushes meanwhile; then the
request is let go and its data must be there.
Guards: overlap-deadlock, split-pool-deadlock, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case, pause

START, LENGTH = 2 << 20, 4096


@case(groups="errors concurrent protocol quick", requires="nbd flush multi_conn")
def test(disk, nbd, rules):
    place = {"sector": START // 512, "iotype": "write"}
    held = rules.add({"event": "write_aio", "action": "hang", **place})
    shadow = disk.shadow
    with nbd(disk) as waiting, nbd(disk) as other:
        data = shadow.stamped(START, LENGTH)
        cookie = waiting.send_request(1, START, LENGTH, payload=data)
        while not rules.seen(held).held:
            pause(0.002)
        for number in range(20):
            offset = number * 65536
            mine = shadow.stamped(offset, LENGTH)
            other.write(offset, mine)
            shadow.write(offset, mine)
            assert bytes(other.read(offset, LENGTH)) == mine
        other.flush()
        assert rules.resume(held) == 1
        assert not waiting.receive_reply(cookie).error
        shadow.write(START, data)
    disk.verify()
