"""Join the workers to a run of ./check."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qbdcheck.catalogue.plan import Planned
from qbdcheck.options import Options
from qbdcheck.pytest_integration.session import Elsewhere
from qbdcheck.runner.lanes import Place, Watcher
from qbdcheck.workers import on_worker
from qbdcheck.workers.connection import Connection, connect
from qbdcheck.workers.pool import Pool
from qbdcheck.workers.setup import Setup
from qbdcheck.workers.unit_lanes import WorkerLanes, verdict_before

_FIRST_S = 30.0
"""Longest wait for the first worker, in seconds; the description of workers is not limited."""
_END_S = 5
_SHOWN = 8
"""Workers that the header of a run lists."""


@contextlib.contextmanager
def workers_for(
    options: Options, plan: Sequence[Planned], scratch: Path, say: Callable[[str], None]
) -> Iterator[Elsewhere]:
    """Connect to the workers of ``--cluster`` and describe them; disconnect at the end.

    :param say: prints a line.
    :raise SetupError: there is no worker that can be used.
    """
    planned = [(one.case.case_id, one.image_format) for one in plan if not one.excluded]
    with open_pool(options, planned, scratch, say) as (pool, connection):
        first = pool.members.usable[0].ready or {}
        every = [set((one.ready or {}).get("capabilities", ())) for one in pool.members.usable]
        environment: dict[str, str] = dict(first.get("environment", {}))
        shown = [one.labels for one in pool.members.usable[:_SHOWN]]
        more = len(pool.members.usable) - len(shown)
        environment["workers"] = "; ".join(shown) + f"; and {more} more" * (more > 0)
        if connection.dashboard:
            environment["dashboard"] = connection.dashboard

        def make_lanes(place: Place, watcher: Watcher, alone: bool) -> WorkerLanes:
            return WorkerLanes(pool, place, watcher, alone)

        yield Elsewhere(
            lanes=pool.members.threads,
            capabilities=frozenset(set.intersection(*every)),
            environment=environment,
            facts=dict(first.get("facts", {})),
            verdict_before=partial(verdict_before, pool),
            make_lanes=make_lanes,
        )


@contextlib.contextmanager
def open_pool(
    options: Options,
    planned: Sequence[tuple[str, str]],
    scratch: Path,
    say: Callable[[str], None],
) -> Iterator[tuple[Pool, Connection]]:
    """Connect, and describe the workers for these units."""
    with connect(options.cluster, scratch) as connection:
        setup = Setup.of(options, planned)
        pool = Pool(connection.client, setup, say)
        try:
            pool.wait_for_members(connection.local_workers or 1, _FIRST_S)
            yield pool, connection
        finally:
            if not connection.local_workers:
                addresses = [member.address for member in pool.members.usable]
                _end_sessions(connection.client, setup.session, addresses)


def _end_sessions(client: Any, session: str, addresses: list[str]) -> None:
    """End the engines that are idle; those that run a unit end when that is cancelled."""

    async def end() -> None:
        await client.run(on_worker.end_session, session, workers=addresses, on_error="ignore")

    # An engine that is left ends when it was idle for long.
    with contextlib.suppress(Exception):
        asyncio.run_coroutine_threadsafe(end(), client.loop.asyncio_loop).result(_END_S)
