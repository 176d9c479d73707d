"""This case checks that zeroes, discards and writes in flight together each affect only their
range.

How: a raw client sends 64 requests at a time to neighbouring blocks; their kinds come from the
seed.
Guards: journal-slot-overlap, shared-cursor-race, thin-alloc-toctou, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name
from qbdcheck.kit.nbd import Command

BLOCK = 12 << 10


@case(groups="concurrent zero discard quick protocol", requires="nbd write_zeroes discard")
def test(disk, nbd, seed):
    chance = seed.stream("kinds")
    shadow = disk.shadow
    with nbd(disk) as client:
        for round_ in range(8):
            blocks = chance.sample(range(disk.size // BLOCK), 64)
            cookies = []
            for block in blocks:
                offset, kind = block * BLOCK, chance.choice((1, 1, 4, 6))
                if kind == Command.WRITE:
                    data = shadow.stamped(offset, BLOCK)
                    shadow.write(offset, data)
                    cookies.append(client.send_request(kind, offset, BLOCK, payload=data))
                    continue
                cookies.append(client.send_request(kind, offset, BLOCK))
                (shadow.discard if kind == Command.TRIM else shadow.zero)(offset, BLOCK)
            errors = [client.receive_reply(cookie).error for cookie in cookies]
            failed = [errno_name(error) for error in errors if error]
            assert not failed, f"round {round_}: expected 64 successes, got the errors {failed}"
    disk.verify()
