"""`./check perf`: how fast a target is, compared with another or with a baseline (docs/perf.md).

One measurement passes these steps:

1. `noise.py` measures how much the machine varies. Too much is BROKEN, never slow.
2. `rounds.py` makes rounds. In a round each shape (`shapes.py`) is measured once on each target,
   one after the other, each time on a fresh volume with a fresh server.
3. `host_load.py` or `guest_load.py` makes the requests and returns a `sample.Sample`.
4. `statistics.py` makes medians and ratios, each with its interval.
5. `gate.py` judges ratios; `baselines.py` keeps samples for each machine.
6. `tables.py` prints; `qbdcheck/report/perf_page.py` draws.

`faults.py` measures latency while a node or a link is lost, and `growth.py` what a request costs
as volumes, snapshots, clients and fragments grow.
"""
