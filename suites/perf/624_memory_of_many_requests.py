"""This case checks that the memory of a server does not grow with the number of its requests.

How: the same places are written, read and flushed again and again, 16 KiB each. After a first part,
2000 further requests may cost 8 MiB of memory. A buffer that is lost with each would be 31 MiB.
Guards: request-leaks-memory.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.request_cost import resident_bytes

LENGTH, SLOTS, ROUNDS, MOST = 16 << 10, 16, 42, 8 << 20


@case(groups="rw perf", requires="raw_requests flush", basis="POLICY: cost-of-a-request-is-bounded")
def test(new_disk, nbd, log):
    disk = new_disk("1M")
    client = nbd(disk)
    seen = []
    for _ in range(2):
        for _ in range(ROUNDS):
            for command in (Command.WRITE, Command.READ, Command.WRITE):
                requests(client, command)
            client.flush()
        seen.append(resident_bytes(disk))
    count = ROUNDS * 3 * SLOTS
    log(f"{seen[0]} bytes of memory after {count} requests, {seen[1]} after twice as many")
    assert seen[1] - seen[0] < MOST, (
        f"{count} requests of {LENGTH} bytes cost {seen[1] - seen[0]} bytes of memory that stay;"
        f" expected less than {MOST}"
    )


def requests(client, command):
    """Send a request to each slot, then take all replies."""
    data = b"m" * LENGTH if command is Command.WRITE else b""
    sent = [
        client.send_request(command, slot * 4 * LENGTH, LENGTH, payload=data)
        for slot in range(SLOTS)
    ]
    for cookie in sent:
        reply = client.receive_reply(cookie)
        assert not reply.error, f"{command.name}: errno {reply.error}"
