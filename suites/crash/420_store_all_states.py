"""This case checks that no possible crash state costs a write-ahead-logging store a commit.

How: the store runs on the target behind QEMU's blklogwrites. Every crash state of the log is made
and recovered: whole epochs, lost, reordered and torn writes, each contents once.
Guards: flush-not-advertised.
Related: flush-noop, destage-reorder, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.wal_store import SIZE, WalHistory, WalStore, run_workload


@case(
    groups="crash states flush",
    requires="flush",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: sector-writes-are-atomic"),
)
def test(new_disk, logged_image, storage_daemon, nbd, seed, log):
    disk = new_disk(SIZE, prefill=False)
    logged, history = logged_image(disk), WalHistory()
    with logged.served(storage_daemon, nbd) as client:
        run_workload(WalStore(client), history, lambda: logged.position, 60)
    result = logged.explore(lambda _: history, seed, acknowledged=history.acknowledged)
    log(result)
    result.must_be_clean()
    assert result.explored > 500, f"only {result.explored} crash states were judged, expected 500"
