"""This case checks that a flush covers a write that was answered while another flush was running.

How: one connection flushes; while that is on its way another writes and gets its answer; then it
flushes itself, with the first flush still running or just over; power fails. The write is there.
Guards: flush-skip-generation-race, multi-conn-incoherent, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command


@case(groups="concurrent flush crash protocol quick", requires="nbd flush multi_conn crash")
def test(new_disk, nbd, seed):
    disk = new_disk("1M")
    shadow = disk.shadow
    for round_ in range(8):
        one, other = nbd(disk), nbd(disk)
        for number in range(8):
            offset = (round_ * 8 + number) * 8192
            data = shadow.stamped(offset, 4096)
            one.write(offset, data)
            shadow.write(offset, data)
        flush = other.send_request(Command.FLUSH)
        for number in range(1, 8, 2):
            offset = (round_ * 8 + number) * 8192
            data = shadow.stamped(offset, 4096)
            one.write(offset, data)
            shadow.write(offset, data)
        if round_ % 2:
            assert not other.receive_reply(flush).error
        one.flush()
        shadow.flush()
        disk.backend.crash(seed=seed + round_)
        disk.verify()
