"""This case checks that a flush covers a write that was answered while another flush was running.

How: one connection flushes. Meanwhile another one writes, gets its reply, and then flushes while
the first flush is still running or has just ended. Power fails. The write is there.
Guards: flush-skip-generation-race, flush-noop.
Related: multi-conn-incoherent.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.server_ends import cut, rounds


@case(
    groups="concurrent flush crash protocol quick",
    requires="raw_requests flush multi_conn sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "MUST: NBD, Transmission flags"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk("1M")
    for round_ in rounds(8):
        one, other = nbd_io(disk), nbd_io(disk)
        for number in range(8):
            one.write((round_ * 8 + number) * 8192, 4096)
        flush = other.client.send_request(Command.FLUSH)  # covers nothing that is written later
        for number in range(1, 8, 2):
            one.write((round_ * 8 + number) * 8192, 4096)
        if round_ % 2:
            error = other.client.receive_reply(flush).error
            assert not error, f"FLUSH on the other connection: errno {error}"
        one.flush()
        cut(disk, seed + round_)
        disk.verify()
