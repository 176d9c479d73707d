"""Run units on many machines: ``./check --cluster ADDRESS|local:N``.

*Workers* are the processes ``dask worker`` of a Dask scheduler. (The cluster of docs/cluster.md is
another thing: a storage cluster under test.) The life of a unit on a worker:

1.  `connection.connect` reaches the scheduler, or starts one with workers on this machine.
2.  `pool.Pool` learns of each worker, also of one that joins later. `on_worker.describe` compares
    the sources there with those here, and starts an `engine`: a process that probes the target and
    says which units it can run, and why not the others.
3.  `qbdcheck.runner.run.Run` is the same as on one machine; `unit_lanes.WorkerLanes` takes the
    place of `qbdcheck.runner.lanes.Lanes`.
4.  `pool.Pool` hands each unit to a free thread of a worker that can run it. `on_worker.run_unit`
    passes it to an engine, whose only lane runs it like any other case.
5.  The result, the logs and the files come back. A unit whose worker was lost runs again on another
    one; a unit that has lost `pool.MOST_LOSSES` workers is BROKEN.
6.  The client counts only the answer to its last attempt. So no result is lost, and none counts
    twice.
"""
