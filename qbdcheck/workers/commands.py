"""Run commands of this project on workers: one command for each part of a long one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qbdcheck.files import ROOT
from qbdcheck.options import Options
from qbdcheck.runner.reaper import Reaper
from qbdcheck.workers import on_worker
from qbdcheck.workers.members import Member
from qbdcheck.workers.pool import Job
from qbdcheck.workers.session import open_pool


@dataclass(frozen=True)
class Answer:
    """How a command ended.

    :ivar code: its exit code; None if no worker could end it.
    :ivar output: what it printed, or why no worker could end it.
    :ivar files: by name, what it wrote to the directory ``@DIR@``.
    """

    code: int | None
    output: str
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass
class _Collector:
    """The watcher of the commands: passes each answer on."""

    ended_with: Callable[[int, Answer], None]

    def started(self, job: Job, lane: int) -> None:
        """Do nothing: the answer is what counts."""

    def told(self, job: Job, message: dict[str, Any]) -> None:
        """Do nothing: commands tell nothing while they run."""

    def ended(self, job: Job, answer: dict[str, Any], member: Member) -> bool:  # noqa: ARG002
        """Pass on the answer."""
        self.ended_with(job.owner, Answer(answer["code"], answer["output"], answer["files"]))
        return True

    def broken(self, job: Job, why: str) -> None:
        """Pass on that there is none."""
        self.ended_with(job.owner, Answer(None, why))

    def tick(self) -> None:
        """Do nothing."""


def run_commands(
    options: Options,
    commands: Sequence[tuple[str, Sequence[str]]],
    ended: Callable[[int, Answer], None],
    say: Callable[[str], None],
) -> None:
    """Run all commands on the workers of ``--cluster``.

    :param commands: for each a name, and the arguments of Python; paths below the directory of the
        project become those of the worker.
    :param ended: gets the index of a command and its answer, in the order of their ends.
    :param say: prints a line.
    :raise SetupError: no worker can be used, or none is left.
    """

    def jobs() -> Iterator[Job]:
        for index, (name, argv) in enumerate(commands):
            words = [word.replace(str(ROOT), "@ROOT@") for word in argv]
            yield Job(name, on_worker.run_command, {"argv": words}, owner=index)

    with contextlib.ExitStack() as ends:
        reaper = ends.enter_context(Reaper(options.execution.scratch_root))
        pool, connection = ends.enter_context(open_pool(options, (), reaper.scratch_root, say))
        say(f"{pool.members.threads} workers; dashboard: {connection.dashboard or 'none'}")
        pool.run(jobs(), _Collector(ended), lambda: "")
