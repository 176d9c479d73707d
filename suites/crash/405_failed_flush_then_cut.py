"""This case checks that a failed flush makes nothing durable, and loses nothing that was durable.

How: flushed data, writes over it, a flush that fails in the backend, a cut: old or new. Then again
with a successful flush after the failed one: now all of it must be there.
Guards: flush-error-once, flush-error-swallowed, flush-skip-generation-race.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

FAILS = {"event": "flush_to_disk", "errno": "EIO", "iotype": "flush", "once": True}


@case(
    groups="inject errors flush crash",
    requires="raw_requests control flush crash",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: failure-is-not-sticky"),
)
def test(new_disk, nbd_io, rules, seed):
    disk = new_disk("2M")
    armed = rules.on(disk)
    for round_, retried in enumerate((False, True, False, True)):
        io = nbd_io(disk)
        for number in range(16):
            io.write(number * 122_880, 69_632)
        armed.add(FAILS)
        io.must_refuse(Command.FLUSH, 0, 0)
        if retried:
            io.flush()
        disk.backend.crash(seed=seed + round_)
        disk.verify()
