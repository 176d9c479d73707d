"""This case checks that no power cut costs SQLite with a rollback journal a committed transaction.

How: SQLite runs on the target behind blklogwrites, through its own VFS. In each state recovery must
give rows that were committed together, all acknowledged ones, and a sound database.
Guards: flush-not-advertised.
Related: flush-noop, destage-reorder, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.sqlite_disk import SIZE, DiskVfs, SqliteHistory, connect, run_transactions


@case(
    groups="crash states flush",
    requires="flush",
    limit_s=60,
    basis=("MUST: SQLite, Atomic Commit In SQLite", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, storage_daemon, nbd, seed, log):
    disk = new_disk(SIZE, prefill=False)
    logged, history = logged_image(disk), SqliteHistory()
    with logged.served(storage_daemon, nbd) as client:
        database = connect(DiskVfs("target", client), "delete", "full")
        run_transactions(database, history, lambda: logged.position, 10)
        database.close()
    result = logged.explore(lambda _: history, seed, acknowledged=history.acknowledged)
    log(result)
    result.must_be_clean()
    assert result.explored > 500, f"only {result.explored} crash states were judged, expected 500"
