"""This case checks that a flush that failed makes nothing durable and loses nothing that was.

How: flushed data, writes over it, a flush that fails at the backend, a cut: old or new. Then again
with a flush that succeeds after the failed one: now all of it must be there.
Guards: flush-error-once, flush-error-swallowed, flush-skip-generation-race.
"""

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.nbd import NbdError

FAILS = {"event": "flush_to_disk", "errno": "EIO", "iotype": "flush", "once": True}


@case(groups="inject errors flush crash", requires="nbd control flush crash")
def test(new_disk, nbd, rules, seed):
    disk = new_disk("2M")
    armed = rules.on(disk)
    for round_, retried in enumerate((False, True, False, True)):
        client = nbd(disk)
        for number in range(16):
            offset = number * 120_000
            data = disk.shadow.stamped(offset, 70_000)
            client.write(offset, data)
            disk.shadow.write(offset, data)
        armed.add(FAILS)
        with pytest.raises(NbdError):
            client.flush()
        if retried:
            client.flush()
            disk.shadow.flush()
        disk.backend.crash(seed=seed + round_)
        disk.verify()
