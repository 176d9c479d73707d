"""This case checks that the explorer finds a missing flush, a wrong order and a disk without flush.

How: three stores with one bug each run on the target behind blklogwrites. Each bug must be found,
and the report must name the lost writes and the effect on the commits.
Related: flush-noop, destage-reorder.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.recorder import without_flushes
from qbdcheck.kit.crash.wal_store import SIZE, WalHistory, WalStore, run_workload

BUGS = {
    "a commit without a flush": ({"flushes": False}, "were acknowledged and are lost"),
    "a checkpoint out of order": ({"ordered": False}, "another value"),
    "a disk that ignores flushes": ({}, "were acknowledged and are lost"),
}


@case(
    groups="crash states flush self quick",
    requires="flush",
    basis="MUST: qbdcheck, docs/crash-model.md",
)
def test(new_disk, logged_image, storage_daemon, nbd, seed, golden, log):
    for bug, (options, text) in BUGS.items():
        disk = new_disk(SIZE, prefill=False)
        logged, history = logged_image(disk), WalHistory()
        with logged.served(storage_daemon, nbd) as client:
            run_workload(WalStore(client, **options), history, lambda log=logged: log.position, 30)
        entries = logged.log() if options else without_flushes(logged.log())
        result = logged.explore(
            lambda _, judge=history: judge, seed, log=entries, acknowledged=history.acknowledged
        )
        log(result, *result.wrong)
        found = any(text in wrong.text for wrong in result.wrong)
        assert found, f"{bug}: no crash state with {text!r}: {result}"
        unnamed = [wrong for wrong in result.wrong if "lost: " not in wrong.description]
        assert not unnamed, f"{bug}: a crash state without its lost writes: {unnamed[0]}"
        golden(f"{bug}: found")
