"""The process on a worker that runs units: one lane of the runner, fed through a socket.

``python -m qbdcheck.workers.engine FD`` is started by `on_worker.Engine`. A Dask worker has threads
and cannot fork cases; this process has none. Messages are lines of JSON. The first has the setup,
in base64; the answer says what this machine is and which units it cannot run. Then each line is a
unit, and its answers are ``test`` (a test in a guest ended) and at last ``result``. The process
ends with its worker: the kernel kills it, or it sees the end of the socket. Its reaper then removes
what is left.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import platform
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from qbdcheck.arguments import scratch_parent
from qbdcheck.bootstrap.system_packages import PROGRAMS
from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.catalogue.history import default_cache_dir
from qbdcheck.catalogue.plan import Planned
from qbdcheck.errors import UsageError
from qbdcheck.options import Options
from qbdcheck.programs.installed import Programs
from qbdcheck.pytest_integration.fixtures import capabilities_of
from qbdcheck.pytest_integration.session import CheckSession, NoTerminal, build_run, pytest_argv
from qbdcheck.report.events import TestEnded
from qbdcheck.runner.case_run import Result, Unit
from qbdcheck.runner.child import LOG
from qbdcheck.runner.lanes import Lanes, Place
from qbdcheck.runner.preflight import fixtures_of
from qbdcheck.runner.reaper import Reaper
from qbdcheck.seed import Seed
from qbdcheck.workers.channel import KEPT, Channel
from qbdcheck.workers.setup import Setup

IDLE_S = 120.0
"""An engine without work ends after this time; the next unit starts another one."""


class _EngineSession(CheckSession):
    """Runs the units that come through a channel, instead of those of a plan."""

    def __init__(self, options: Options, setup: Setup, reaper: Reaper, channel: Channel) -> None:
        cases = {one.case_id: one for one in list_cases(options.selection.suites_dir)}
        plan = [Planned(cases[name], image_format) for name, image_format in setup.planned]
        super().__init__(options, plan, reaper)
        self._channel = channel

    def _run(self, session: pytest.Session) -> None:
        units = {}
        for planned in self._plan:
            unit = self._unit_of(session, planned)
            units[unit.key] = unit
        run = build_run(session.config, list(units.values()), [], self._reaper, {})
        guest = run.environment.get("guest", "")
        refused = {}
        for unit in units.values():
            if (result := run.verdict_before(unit)) is not None:
                refused[unit] = result
        without_guest = [
            unit
            for unit in units.values()
            if guest.startswith("none") and "guest" in fixtures_of(unit.case.path)
        ]
        self._channel.send(
            {
                "ready": {
                    "labels": labels(guest),
                    "scratch": str(self._reaper.scratch_root),
                    "capabilities": sorted(capabilities_of(session.config)),
                    "environment": dict(run.environment),
                    "facts": dict(run.facts),
                    "refused_units": [
                        [*unit.key, result.to_bytes().decode()] for unit, result in refused.items()
                    ],
                    "without_guest": [unit.key for unit in without_guest],
                }
            }
        )
        serve(self._channel, units, self._reaper, self._place())

    def _place(self) -> Place:
        scratch = self._reaper.scratch_root
        options = self._options
        return Place(
            scratch,
            scratch / KEPT,
            show_logs="*.log" if options.execution.debug else LOG * options.target.print_server,
            keep_timelines=bool(options.reports.html_file or options.reports.bundle_file),
        )


def labels(guest: str) -> dict[str, Any]:
    """Return what this machine is: the labels of its worker."""
    programs = Programs()
    return {
        "host": platform.node(),
        "root": os.geteuid() == 0,
        "guest": bool(guest) and not guest.startswith("none"),
        "programs": sorted(name for name in PROGRAMS if programs.path(name)),
        "cores": len(os.sched_getaffinity(0)),
    }


class _Sender:
    """The watcher of the lane: sends what it sees."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._log = ""
        self.lanes: Lanes | None = None

    def started(self, unit: Unit, lane: int) -> None:
        """Do nothing: the client knows."""

    def test_ended(self, unit: Unit, test: TestEnded) -> None:  # noqa: ARG002
        """Send a test in a guest."""
        self._channel.send({"test": asdict(test)})

    def finished(self, unit: Unit, result: Result, elapsed_s: float, artefacts: list[Path]) -> None:
        """Send the result."""
        self._channel.send(
            {
                "result": result.to_bytes().decode(),
                "elapsed_s": elapsed_s,
                "directory": unit.name if artefacts else "",
                "artefacts": [path.name for path in artefacts],
                "log": self._log,
            }
        )
        self._log = ""

    def show_log(self, unit: Unit, log: str) -> None:  # noqa: ARG002
        """Keep the logs for the result."""
        self._log = log

    def tick(self) -> None:
        """End the unit if the worker is gone."""
        if self.lanes is not None and self._channel.is_closed():
            self.lanes.stop("the worker has exited")


def serve(
    channel: Channel, units: dict[tuple[str, str], Unit], reaper: Reaper, place: Place
) -> None:
    """Run one unit after another until the channel ends or is idle for `IDLE_S`."""
    number = 0
    while True:
        try:
            message = channel.receive(IDLE_S)
        except TimeoutError:
            return
        if message is None:
            return
        wanted = message["unit"]
        unit = replace(
            units[wanted["case_id"], wanted["image_format"]],
            run_seed=Seed(wanted["run_seed"]),
            repetition=wanted["repetition"],
            is_second_try=wanted["is_second_try"],
        )
        number += 1
        sender = _Sender(channel)
        lanes = Lanes(1, place, reaper, sender, iter([number]))
        sender.lanes = lanes
        lanes.run(iter([unit]))
        if lanes.stopped:
            return


def main(descriptor: int) -> None:
    """Read the setup from the socket `descriptor`, and serve it."""
    # The client blocks it for its local workers; the programs of cases may need it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    channel = Channel.of(descriptor)
    message = channel.receive(60.0)
    if message is None:
        return
    setup: Setup = pickle.loads(base64.b64decode(message["setup"]))  # noqa: S301  # from our parent
    try:
        with _cases_place(setup) as (options, reaper):
            session = _EngineSession(options, setup, reaper, channel)
            argv = ["-p", "qbdcheck.plugin", *pytest_argv(options.selection.suites_dir)]
            pytest.main(argv, plugins=[session, NoTerminal()])
            if session.error is not None:
                raise session.error
    except UsageError as error:
        channel.send({"error": str(error)})


@contextlib.contextmanager
def _cases_place(setup: Setup) -> Iterator[tuple[Options, Reaper]]:
    options = setup.here()
    with Reaper(scratch_parent()) as reaper:
        execution = replace(
            options.execution,
            scratch_root=reaper.scratch_root,
            cache_dir=default_cache_dir(os.environ),
            results_dir=reaper.scratch_root / KEPT,
        )
        yield replace(options, execution=execution), reaper


if __name__ == "__main__":
    main(int(sys.argv[1]))
