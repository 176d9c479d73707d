"""Latency while something fails: a node, a link, a resync, a snapshot, a restart of the server.

Clients send requests at fixed times. The latency of a request is counted from the time when it was
due, and repetitions on other nodes belong to it. So a stall counts for every request that was due
meanwhile, and not only for the one that was in flight (G. Tene, "coordinated omission").
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from qbdcheck.clock import now_s, pause
from qbdcheck.kit.cluster.processes import ClusterProcesses
from qbdcheck.perf.histogram import PERCENTILES, Histogram
from qbdcheck.seed import Seed
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError

SIZE = 1 << 20
_BLOCK = 4096
_EVERY_S = 0.02
"""Each client sends a request this often."""
_CALM_S = 1.0
"""Before and after a fault."""
_WINDOW_S = 0.1
_RETRY_S = 0.01
_SNAPSHOTS = 5


@dataclass(frozen=True)
class Shaded:
    """When a fault was active, in seconds since the start."""

    start_s: float
    end_s: float
    label: str


@dataclass
class Timeline:
    """All requests during one fault.

    :ivar requests: for each the time when it was due, and its latency, in seconds.
    :ivar unanswered: requests that no node had answered at the end.
    """

    fault: str
    requests: list[tuple[float, float]] = field(default_factory=list)
    spans: list[Shaded] = field(default_factory=list)
    unanswered: int = 0

    @property
    def longest_stall_s(self) -> float:
        """The longest latency in seconds; 0 without requests."""
        return max((latency_s for _, latency_s in self.requests), default=0.0)

    def over_time(self) -> list[dict[str, float]]:
        """Return the percentiles in milliseconds of the requests that were due in each window."""
        windows: dict[int, list[float]] = {}
        for at_s, latency_s in self.requests:
            windows.setdefault(int(at_s / _WINDOW_S), []).append(latency_s * 1000)
        return [
            {
                "at_s": round(number * _WINDOW_S, 3),
                "requests": len(found),
                **{f"{one:g}": float(np.percentile(found, one)) for one in (50.0, 99.0, 100.0)},
            }
            for number, found in sorted(windows.items())
        ]

    def histogram(self) -> Histogram:
        """Return the histogram of all latencies.

        :raise SetupError: the package hdrhistogram is not installed.
        """
        found = Histogram()
        for _, latency_s in self.requests:
            found.record(int(latency_s * 1e9))
        return found

    def document(self) -> dict[str, Any]:
        """Return it for the JSON file and the page."""
        latencies = self.histogram()
        return {
            "fault": self.fault,
            "requests": len(self.requests),
            "unanswered": self.unanswered,
            "longest_stall_s": round(self.longest_stall_s, 4),
            "percentiles_ns": {f"{one:g}": latencies.percentile_ns(one) for one in PERCENTILES},
            "spans": [vars(one) for one in self.spans],
            "over_time_ms": self.over_time(),
            "histogram": latencies.encode(),
        }


class Load:
    """Clients that send requests at fixed times until the end of the block.

    :param uris: NBD URIs of the nodes. There is a client for each, and at least two; each goes to
        the next node when its own fails. :param timeout_s: how long a client waits for an answer.
    """

    def __init__(self, fault: str, uris: Sequence[str], timeout_s: float, seed: Seed) -> None:
        self.timeline = Timeline(fault)
        self._uris = list(uris)
        self._timeout_s = timeout_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._start_s = now_s()
        count = max(len(self._uris), 2)
        self._threads = [
            threading.Thread(target=self._run, args=(number, seed), daemon=True)
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait(self, seconds: float) -> None:
        """Let the clients work for some seconds."""
        pause(seconds)

    def wait_for_answers(self, most_s: float) -> None:
        """Wait until each client got an answer to a request that became due just now or later."""
        due_s, end_s = now_s() - self._start_s, now_s() + most_s
        while now_s() < end_s:
            with self._lock:
                if sum(at_s >= due_s for at_s, _ in self.timeline.requests) >= len(self._threads):
                    return
            pause(0.02)

    @contextlib.contextmanager
    def shaded(self, label: str) -> Iterator[None]:
        """Note that a fault is active during the block."""
        start_s = now_s() - self._start_s
        yield
        self.timeline.spans.append(Shaded(start_s, now_s() - self._start_s, label))

    def _run(self, number: int, seed: Seed) -> None:
        random = seed.stream(f"latency {number}")
        node = number % len(self._uris)
        client: Client | None = None
        due_s = self._start_s + _EVERY_S * number / len(self._threads)
        data = bytes([number + 1]) * _BLOCK
        while not self._over.is_set():
            pause(max(due_s - now_s(), 0.0))
            offset = random.randrange(SIZE // _BLOCK) * _BLOCK
            writes = random.random() < 0.5
            while True:
                try:
                    client = client or Client.connect(self._uris[node], timeout_s=self._timeout_s)
                    _request(client, offset, data if writes else b"")
                    break
                except (OSError, NbdError, EOFError):
                    _close(client)
                    client, node = None, (node + 1) % len(self._uris)
                    if self._over.is_set() and now_s() - due_s > self._timeout_s:
                        with self._lock:
                            self.timeline.unanswered += 1
                        return
                    pause(_RETRY_S)
            with self._lock:
                self.timeline.requests.append((due_s - self._start_s, now_s() - due_s))
            due_s += _EVERY_S
        _close(client)


def _request(client: Client, offset: int, data: bytes) -> None:
    if data:
        client.write(offset, data)
    else:
        client.read(offset, _BLOCK)


def _close(client: Client | None) -> None:
    if client is not None:
        with contextlib.suppress(OSError):
            client.sock.close()


def _with_cluster(
    fault: str, description: Description, scratch: Path, seed: Seed,
    break_it: Callable[[ClusterProcesses, Load], None],
) -> Timeline:  # fmt: skip
    limit_s = description.failover
    with ClusterProcesses(description, scratch, SIZE) as cluster:
        cluster.leader()
        uris = [cluster.uri(name) for name in cluster.names]
        with Load(fault, uris, limit_s, seed) as load:
            load.wait_for_answers(limit_s * 2)
            load.timeline.requests.clear()  # the first connections are no part of it
            load.wait(_CALM_S)
            break_it(cluster, load)
            load.wait(_CALM_S)
    return load.timeline


def node_killed(description: Description, scratch: Path, seed: Seed) -> Timeline:
    """Kill the leader, and start it again after the others have served."""

    def break_it(cluster: ClusterProcesses, load: Load) -> None:
        leader = cluster.leader()
        with load.shaded(f"node {leader} is dead"):
            cluster.kill(leader)
            load.wait_for_answers(2 * description.failover)
            load.wait(_CALM_S)
        cluster.start(leader)

    return _with_cluster("node killed", description, scratch, seed, break_it)


def link_lost(description: Description, scratch: Path, seed: Seed) -> Timeline:
    """Cut all links of the leader to the other nodes, while clients still reach it."""

    def break_it(cluster: ClusterProcesses, load: Load) -> None:
        leader = cluster.leader()
        with load.shaded(f"node {leader} is cut off"):
            cluster.cut_off(leader)
            load.wait_for_answers(2 * description.failover)
            load.wait(_CALM_S)
            cluster.heal()

    return _with_cluster("link lost", description, scratch, seed, break_it)


def resync(description: Description, scratch: Path, seed: Seed) -> Timeline:
    """Start a follower again that missed writes, and measure while it catches up."""

    def break_it(cluster: ClusterProcesses, load: Load) -> None:
        follower = next(name for name in cluster.names if name != cluster.leader())
        cluster.kill(follower)
        load.wait_for_answers(2 * description.failover)
        load.wait(_CALM_S)
        with load.shaded(f"node {follower} catches up"):
            cluster.start(follower)
            load.wait(_CALM_S)

    return _with_cluster("resync", description, scratch, seed, break_it)


def snapshot_taken(session: TargetSession, seed: Seed) -> Timeline:
    """Take some snapshots of a volume while clients write it."""
    return _with_server("snapshot taken", session, seed, _snapshots)


def server_restarted(session: TargetSession, seed: Seed) -> Timeline:
    """Kill the server and start it again at once."""
    return _with_server("server killed and started", session, seed, _restart)


def _with_server(
    fault: str, session: TargetSession, seed: Seed, break_it: Callable[[TargetSession, Load], None]
) -> Timeline:
    disk = session.new_disk(SIZE, prefill=False, zero=False)
    with Load(fault, [disk.uri], session.description.failover, seed) as load:
        load.wait_for_answers(session.description.failover)
        load.timeline.requests.clear()
        load.wait(_CALM_S)
        break_it(session, load)
        load.wait(_CALM_S)
    return load.timeline


def _snapshots(session: TargetSession, load: Load) -> None:
    for number in range(_SNAPSHOTS):
        with load.shaded(f"snapshot {number + 1}" if number == 0 else ""):
            session.disks[0].backend.snapshot(f"s{number}")
        load.wait(_CALM_S / _SNAPSHOTS)


def _restart(session: TargetSession, load: Load) -> None:
    backend = session.disks[0].backend
    with load.shaded("the server is dead"):
        backend.kill()
        backend.start()
    load.wait_for_answers(session.description.failover)
