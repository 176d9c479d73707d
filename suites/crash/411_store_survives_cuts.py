"""This case checks that an application with a write-ahead log loses no commit in a power cut.

How: a small key-value store on the volume commits (record, flush) until power fails. Recovery must
find all acknowledged commits, in order. Then it starts again on an empty volume.
Guards: flush-noop, destage-reorder.
Related: torn-write, flush-skip-generation-race, fua-write-ack-early.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.crash.wal_store import SIZE, WalHistory, WalStore, run_workload
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.server_ends import cut, rounds


@case(
    groups="flush crash protocol",
    requires="raw_requests flush sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "MUST: NBD, Ordering of messages and writes"),
)
def test(new_disk, nbd, seed):
    for round_ in rounds(5):
        disk = new_disk(SIZE, prefill=False)
        minimum = minimum_block(disk)
        if minimum > 512:
            raise NotRun(f"the store writes sectors of 512 bytes, the minimum block is {minimum}")
        client = nbd(disk)
        history = WalHistory()
        store = WalStore(client)
        run_workload(store, history, lambda: 0, 7 + 9 * round_, stride=round_ + 1)
        cut(disk, seed + round_)
        client.sock.close()
        wrong = history.check(memoryview(disk.read_all().tobytes()), None, 0)
        assert not wrong, f"round {round_}: recovery after the power cut: {wrong}"
