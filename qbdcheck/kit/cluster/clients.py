"""Clients of a cluster of processes: stamped writes and reads through faults, as a history."""

from __future__ import annotations

import threading
from contextlib import suppress
from random import Random

from oracles.cluster_history import TORN, Flush, History, judge
from oracles.damage import Damage
from oracles.finding import Finding, Findings
from oracles.linearizability import INITIAL, NEVER, Access
from oracles.stamps import SECTOR, Identity, header_of, sector_words, sound, stamp
from qbdcheck.clock import case_s, pause
from qbdcheck.kit.cluster.processes import ClusterProcesses
from qbdcheck.kit.nbd import Client, NbdError
from qbdcheck.machine_speed import Limit, elapsed_limit_s
from qbdcheck.seed import Seed

SECTORS = 32
"""Sectors that the clients use."""
_PROGRESS_S = 60.0
"""The time for some requests; more than a loaded machine needs."""


class Clients:
    """One client at each node, which goes to the next node when its own fails.

    :param seed: of the requests.
    """

    def __init__(self, cluster: ClusterProcesses, seed: Seed) -> None:
        self._cluster = cluster
        self._identity = Identity.of(str(int(seed)), "cluster")
        self._lock = threading.Lock()
        self._accesses: list[Access] = []
        self._flushes: list[Flush] = []
        self._number = 0
        self._done = 0
        self._is_over = False
        self._threads = [
            threading.Thread(target=self._run, args=(place, seed.stream(name)), daemon=True)
            for place, name in enumerate(cluster.names)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, requests: int) -> None:
        """Wait until so many further requests have succeeded.

        :raise AssertionError: they have not in a time that is much longer than any failover.
        """
        first, limit = self._done, Limit(self._cluster.failover_s + _PROGRESS_S)
        while self._done < first + requests:
            if limit.is_over:
                text = (
                    f"{self._done - first} of {requests} requests succeeded in {limit.seconds:g} s"
                )
                raise AssertionError(str(Finding(Damage.HANG, remark=text)))
            pause(0.02)

    def finish(self) -> Findings:
        """End the clients, read all sectors at each node, and return what is wrong."""
        self._is_over = True
        for thread in self._threads:
            thread.join()
        for place, name in enumerate(self._cluster.names):
            with Client.connect(
                self._cluster.uri(name), timeout_s=elapsed_limit_s(_PROGRESS_S)
            ) as client:
                self._request(client, place, "read", 0, SECTORS)
                self._request(client, place, "flush", 0, 0)
        return judge(History(self._accesses, self._flushes))

    def _run(self, place: int, random: Random) -> None:
        client: Client | None = None
        names = self._cluster.names
        node = place
        while not self._is_over:
            try:
                if client is None:
                    uri = self._cluster.uri(names[node])
                    timeout_s = elapsed_limit_s(2 * self._cluster.failover_s)
                    client = Client.connect(uri, timeout_s=timeout_s)
                what = random.choices(("read", "write", "flush"), (4, 5, 1))[0]
                count = random.randint(1, 4)
                sector = random.randrange(SECTORS - count)
                self._request(client, place, what, sector, count)
                with self._lock:
                    self._done += 1
            except (OSError, NbdError, EOFError):
                node = (node + 1) % len(names)
                if client is not None:
                    with suppress(OSError):
                        client.sock.close()
                client = None
                pause(0.02)
        if client is not None:
            client.close()

    def _request(self, client: Client, place: int, what: str, sector: int, count: int) -> None:
        with self._lock:
            self._number += 1
            number = self._number
        values, returned = [number] * count, NEVER
        call = case_s()
        try:
            if what == "flush":
                client.flush()
            elif what == "write":
                data = stamp(sector * SECTOR, count * SECTOR, self._identity, 1, number)
                client.write(sector * SECTOR, data.tobytes())
            else:
                values = self._values(bytes(client.read(sector * SECTOR, count * SECTOR)), sector)
            returned = case_s()
        finally:
            with self._lock:
                if what == "flush" and returned != NEVER:
                    self._flushes.append(Flush(call, returned))
                elif what == "write" or (what == "read" and returned != NEVER):
                    self._accesses += [
                        Access(sector + at, what == "write", value, call, returned, place, number)
                        for at, value in enumerate(values)
                    ]

    def _values(self, data: bytes, first: int) -> list[int]:
        """Return the number of the write that each sector is from; TORN if it is no whole stamp."""
        words = sector_words(data)
        found = []
        for at, (row, is_sound) in enumerate(zip(words, sound(words), strict=True)):
            header = header_of(row)
            if not row.any():
                found.append(INITIAL)
            elif is_sound and header.identity == self._identity and header.lba == first + at:
                found.append(header.operation)
            else:
                found.append(TORN)
        return found
