"""Hand jobs to the workers of a Dask scheduler; lose none, and count none twice.

The scheduler of Dask carries the jobs, watches the workers and shows both on its dashboard. *Which*
worker gets a job is decided here: only this side knows what each worker can run, which job is the
longest, and how many workers a job has cost already. So each attempt is a task of Dask that is tied
to one worker, and a worker gets no job while all its threads are busy: a job that is lost with its
worker was running.

Everything happens in the thread that calls `Pool.run`. Dask's own thread only puts into a queue.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from qbdcheck import clock
from qbdcheck.errors import SetupError
from qbdcheck.workers.members import Member, Members
from qbdcheck.workers.setup import Setup

MOST_LOSSES = 2
"""A job that has lost this number of workers is broken."""
MOST_ATTEMPTS = 10
"""Attempts of one job, with those that ended because a worker was taken away on purpose."""
LOOK_AHEAD = 10_000
"""Jobs that wait for a worker that can run them, while other workers are free."""
NOBODY_S = 60.0
"""Seconds to wait for a worker when none is left: a nanny may be starting one."""
_TICK_S = 0.2


@dataclass
class Job:
    """Something that one worker does.

    :ivar function: runs on the worker, with the session, the attempt and ``payload``.
    :ivar can_run: whether a worker can do it.
    :ivar losses: why workers were lost while they did it.
    """

    name: str
    function: Callable[..., dict[str, Any]]
    payload: dict[str, Any]
    can_run: Callable[[Member], bool] = lambda _: True
    owner: Any = None
    losses: list[str] = field(default_factory=list)
    avoided: set[str] = field(default_factory=set)
    attempts: int = 0


class Watcher(Protocol):
    """Receives what happens to jobs."""

    def started(self, job: Job, lane: int) -> None:
        """Handle the start of a job, also of a later attempt."""

    def told(self, job: Job, message: dict[str, Any]) -> None:
        """Handle a message of a running job."""

    def ended(self, job: Job, answer: dict[str, Any], member: Member) -> bool:
        """Handle the answer; return False to have another worker try, where there is one."""

    def broken(self, job: Job, why: str) -> None:
        """Handle a job that no worker can end."""

    def tick(self) -> None:
        """Redraw; called a few times a second."""


@dataclass
class _Attempt:
    number: int
    job: Job
    member: Member
    lane: int
    future: Any = None


class Pool:
    """The workers of one scheduler, and what they are doing.

    :param client: a `distributed.Client`.
    """

    def __init__(self, client: Any, setup: Setup, say: Callable[[str], None]) -> None:
        self._client = client
        self._setup = setup
        self._say = say
        self._happened: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.members = Members(client, setup, say, self._await)
        self._running: dict[int, _Attempt] = {}
        self._numbers = itertools.count(1)
        self._nobody_since_s: float | None = None
        client.subscribe_topic("all", lambda event: self._happened.put(("event", event[1])))
        client.subscribe_topic(setup.session, lambda event: self._happened.put(("told", event[1])))

    def wait_for_members(self, least: int, limit_s: float) -> None:
        """Wait until workers are described and `least` of them can be used, or none will be.

        :raise SetupError: no worker can be used; names the reasons.
        """
        give_up_s = clock.now_s() + limit_s
        while True:
            self.members.refresh()
            usable = len(self.members.usable)
            if self.members.is_settled and usable >= least:
                return
            if clock.now_s() >= give_up_s and not self.members.being_described:
                if usable:
                    return
                raise SetupError(self.members.why_none())
            self._take(_TICK_S, None)

    def run(
        self,
        jobs: Iterator[Job],
        watcher: Watcher,
        stopped: Callable[[], str],
        *,
        deadline_s: float = float("inf"),
        at_deadline: Callable[[list[Job], list[Job]], None] | None = None,
        alone: bool = False,
    ) -> None:
        """Run all jobs; return when the last one has ended, or when `stopped` says why to stop.

        :param deadline_s: time of the monotonic clock after which this returns; what is running is
            given up. ``at_deadline`` gets the running and the waiting jobs.
        :param alone: run one job at a time on each machine.
        :raise SetupError: no worker is left.
        """
        waiting: list[Job] = []
        is_all = False
        try:
            while not stopped():
                is_all = self._fill(jobs, waiting, watcher, alone) or is_all
                if is_all and not waiting and not self._running:
                    return
                self._check_somebody(waiting)
                self._take(_TICK_S, (watcher, waiting))
                self.members.refresh()
                self._look_for_silent(watcher, waiting)
                watcher.tick()
                if clock.now_s() >= deadline_s:
                    if at_deadline is not None:
                        at_deadline([one.job for one in self._running.values()], waiting)
                    return
        finally:
            for attempt in list(self._running.values()):
                self._forget(attempt)

    def has_other(self, job: Job, member: Member) -> bool:
        """Return whether a worker that did not try a job yet can do it."""
        return any(
            job.can_run(one) and one is not member and one.key not in job.avoided
            for one in self.members.usable
        )

    # Start

    def _fill(self, jobs: Iterator[Job], waiting: list[Job], watcher: Watcher, alone: bool) -> bool:
        """Give a job to each free thread: first those that have waited, then new ones.

        :return: whether there are no new ones. While no thread is free, nobody knows.
        """
        while free := self._free(alone):
            chosen, is_all = None, False
            for job in waiting:
                if (chosen := self._best(job, free)) is not None:
                    waiting.remove(job)
                    break
            while chosen is None and len(waiting) < LOOK_AHEAD:
                if (new := next(jobs, None)) is None:
                    is_all = True
                    break
                job = new
                if (chosen := self._best(job, free)) is None:
                    waiting.append(job)
            if chosen is None:
                return is_all
            self._start(job, chosen, watcher)
        return False

    def _free(self, alone: bool) -> list[Member]:
        """Return the workers with a free thread."""
        busy: dict[str, int] = {}
        hosts = set()
        for attempt in self._running.values():
            busy[attempt.member.key] = busy.get(attempt.member.key, 0) + 1
            hosts.add(attempt.member.host)
        return [
            one
            for one in self.members.usable
            if one.is_running
            and busy.get(one.key, 0) < one.nthreads
            and not (alone and one.host in hosts)
        ]

    def _best(self, job: Job, free: list[Member]) -> Member | None:
        """Return the free worker that can do a job and little else; None if there is none."""
        able = [one for one in free if job.can_run(one)]
        fresh = [one for one in able if one.key not in job.avoided]
        if able and not fresh and self.has_other(job, able[0]):
            return None  # one that has not tried it will be free
        return min(fresh or able, key=lambda one: one.breadth, default=None)

    def _start(self, job: Job, member: Member, watcher: Watcher) -> None:
        number, lanes = next(self._numbers), {one.lane for one in self._running.values()}
        lane = next(lane for lane in itertools.count() if lane not in lanes)
        attempt = _Attempt(number, job, member, lane)
        job.attempts += 1
        self._running[number] = attempt
        watcher.started(job, lane)
        attempt.future = self._client.submit(
            job.function,
            self._setup.session,
            number,
            job.payload,
            key=f"{job.name}-{self._setup.session}-{number}",
            workers=[member.address],
            allow_other_workers=False,
            pure=False,
        )
        self._await(attempt.future, "answer", number)

    def _await(self, future: Any, kind: str, number: Any) -> None:
        """Let Dask's thread put the result of a future into the queue."""

        async def wait() -> None:
            try:
                value = await future
            except (asyncio.CancelledError, concurrent.futures.CancelledError):
                value = None  # by us, or the connection is lost, which `refresh` notices
            except Exception as error:  # whatever the worker could not do
                value = {"lost": f"{type(error).__name__}: {' '.join(str(error).split())}"}
            self._happened.put((kind, (number, value)))

        self._client.loop.add_callback(wait)

    # What happens

    def _take(self, timeout_s: float, of_run: tuple[Watcher, list[Job]] | None) -> None:
        """Handle what has happened; wait if nothing has."""
        with_wait = True
        while True:
            try:
                kind, value = self._happened.get(block=with_wait, timeout=timeout_s)
            except queue.Empty:
                return
            with_wait = False
            if kind == "described":
                self.members.described(*value)
            elif kind == "event":
                self._event(value, of_run)
            elif of_run is not None and kind == "answer":
                self._answer(value[0], value[1], *of_run)
            elif of_run is not None and kind == "told":
                attempt = self._running.get(value.get("attempt"))
                if attempt is not None:
                    of_run[0].told(attempt.job, value)

    def _event(self, event: Any, of_run: tuple[Watcher, list[Job]] | None) -> None:
        if not isinstance(event, dict):
            return
        if event.get("action") in ("add-worker", "worker-status-change"):
            self.members.read_soon()
        if event.get("action") == "remove-worker":
            self._gone(
                str(event["worker"]),
                "was taken away" if event.get("expected") else "died",
                of_run,
                counts=not event.get("expected"),
            )

    def _gone(
        self,
        address: str,
        how: str,
        of_run: tuple[Watcher, list[Job]] | None,
        counts: bool = True,
    ) -> None:
        """Run again what a worker was doing that is gone."""
        for member in self.members.remove(address):
            self._say(f"worker {member.name} ({address}) {how}")
            for attempt in list(self._running.values()):
                if attempt.member is member and of_run is not None:
                    self._lost(attempt, f"worker {member.name} {how}", *of_run, counts=counts)

    def _look_for_silent(self, watcher: Watcher, waiting: list[Job]) -> None:
        """Treat workers that give no sign of life, or that the scheduler lost, as gone."""
        for address, how in self.members.missing():
            self._gone(address, how, (watcher, waiting))

    def _answer(
        self, number: int, value: dict[str, Any] | None, watcher: Watcher, waiting: list[Job]
    ) -> None:
        attempt = self._running.get(number)
        if attempt is None or value is None:
            return  # an attempt that was given up: its answer does not count
        if "lost" in value:
            why = f"on worker {attempt.member.name}: {value['lost']}"
            self._lost(attempt, why, watcher, waiting)
            return
        self._forget(attempt)
        if not watcher.ended(attempt.job, value, attempt.member):
            attempt.job.avoided.add(attempt.member.key)
            waiting.insert(0, attempt.job)

    def _lost(
        self,
        attempt: _Attempt,
        why: str,
        watcher: Watcher,
        waiting: list[Job],
        *,
        counts: bool = True,
    ) -> None:
        job = attempt.job
        self._forget(attempt)
        job.avoided.add(attempt.member.key)
        if counts:
            job.losses.append(why)
        if len(job.losses) >= MOST_LOSSES:
            watcher.broken(job, f"it lost {len(job.losses)} workers: {'; '.join(job.losses)}")
        elif job.attempts >= MOST_ATTEMPTS:
            watcher.broken(job, f"no result in {job.attempts} attempts; the last: {why}")
        else:
            waiting.insert(0, job)

    def _forget(self, attempt: _Attempt) -> None:
        self._running.pop(attempt.number, None)
        if attempt.future is not None:
            attempt.future.release()  # this also ends it, if it is running
            attempt.future = None

    def _check_somebody(self, waiting: list[Job]) -> None:
        """Check that somebody can do what is to be done.

        :raise SetupError: nobody could for a minute.
        """
        usable = [one for one in self.members.usable if one.is_running]
        is_somebody = any(job.can_run(one) for job in waiting for one in usable)
        if self._running or self.members.being_described or is_somebody or (usable and not waiting):
            self._nobody_since_s = None
            return
        now_s = clock.now_s()
        self._nobody_since_s = self._nobody_since_s or now_s
        if now_s - self._nobody_since_s > NOBODY_S:
            what = f" for {waiting[0].name}" if waiting else ""
            why = self.members.why_none()
            raise SetupError(f"no worker is left{what}: {why}; --resume runs the rest")
