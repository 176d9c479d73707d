"""This case checks that the explorer finds the risks of SQLite's unsafe settings.

How: SQLite's manual says that synchronous=off may corrupt a database, and that write-ahead logging
with synchronous=normal may lose commits but never corrupts
(https://sqlite.org/pragma.html#pragma_synchronous). Both must be seen.
Related: flush-noop, destage-reorder.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.sqlite_disk import SIZE, DiskVfs, SqliteHistory, connect, run_transactions

LOST, CORRUPT = "committed and are lost", "CorruptError"


@case(
    groups="crash states flush self",
    requires="flush",
    limit_s=60,
    basis="MUST: qbdcheck, docs/crash-model.md",
)
def test(new_disk, logged_image, storage_daemon, nbd, seed, golden, log):
    for journal, synchronous in (("delete", "off"), ("wal", "normal")):
        disk = new_disk(SIZE, prefill=False)
        logged, history = logged_image(disk), SqliteHistory()
        with logged.served(storage_daemon, nbd) as client:
            database = connect(DiskVfs(journal, client), journal, synchronous)
            run_transactions(database, history, lambda log=logged: log.position, 8)
            database.close()
        result = logged.explore(
            lambda _, judge=history: judge,
            seed,
            acknowledged=history.acknowledged,
            most=1000,
        )
        log(result, *result.wrong[:5])
        lost = any(LOST in wrong.text for wrong in result.wrong)
        corrupt = any(CORRUPT in wrong.text for wrong in result.wrong)
        golden(f"{journal} {synchronous}: commits lost {lost}, corrupt {corrupt}")
