"""The order in which a pool gives out jobs; `test_lost_workers` has the real processes."""

from __future__ import annotations

from typing import Any

import pytest

from qbdcheck.errors import SetupError
from qbdcheck.workers import pool as pools
from qbdcheck.workers.members import Member
from qbdcheck.workers.pool import Job, Pool
from qbdcheck.workers.setup import Setup


class Client:
    """Has the workers of a list, and takes tasks without an answer."""

    def __init__(self) -> None:
        self.workers: dict[str, Any] = {}

    def subscribe_topic(self, topic: str, handler: object) -> None:
        """Tell nothing."""

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": self.workers}


class InstantPool(Pool):
    """Each job ends when it starts; sometimes no worker is free."""

    blocked = 0

    def _free(self, alone: bool) -> list[Member]:
        self.blocked -= 1
        return [] if self.blocked >= 0 else [Member("k", "tcp://a:1", "a", "a", 1)]

    def _start(self, job: Job, member: Member, watcher: Any) -> None:
        watcher.ended(job, {}, member)

    def _take(self, timeout_s: float, of_run: object) -> None:
        """Do not wait."""


class Watcher:
    def __init__(self) -> None:
        self.names: list[str] = []

    def ended(self, job: Job, answer: dict[str, Any], member: Member) -> bool:
        self.names.append(job.name)
        return True

    def tick(self) -> None:
        """Do nothing."""


def make() -> InstantPool:
    setup = Setup("session", "source", "version", b"")
    return InstantPool(Client(), setup, lambda line: None)


def jobs(count: int) -> list[Job]:
    return [Job(str(number), dict, {}) for number in range(count)]


def test_a_run_does_not_end_while_no_worker_is_free() -> None:
    pool, watcher = make(), Watcher()
    pool.blocked = 3
    pool.run(iter(jobs(5)), watcher, lambda: "")  # type: ignore[arg-type]
    assert watcher.names == list("01234")


def test_a_run_without_workers_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "NOBODY_S", 0.0)
    pool, watcher = make(), Watcher()
    pool.blocked = 1 << 30
    with pytest.raises(SetupError, match="no worker is left: the scheduler has no worker"):
        pool.run(iter(jobs(5)), watcher, lambda: "")  # type: ignore[arg-type]
    assert watcher.names == []
