"""Judge the crash states of a log on all cores, each in place, and collect the wrong ones.

Each worker enumerates all states and judges every N-th block of them. Only findings pass between
processes, and the findings do not depend on the number of workers. A worker has one image file,
which it changes from state to state. If a program changes the file, its changes are undone by
comparison with the worker's second image.
"""

from __future__ import annotations

import mmap
import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from itertools import count, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Protocol

import numpy as np

from oracles.crash_states.families import Bounds
from oracles.crash_states.states import Candidate, CrashStates, Position
from oracles.finding import Findings
from qbdcheck import clock
from qbdcheck.runner import measures

_BLOCK = 16
"""States in a row for one worker: neighbours differ by little."""
_CHUNK = 256 << 10
_SHOWN = 3


class Judge(Protocol):
    """A check of an image after a crash.

    The worker enters and leaves a judge that is a context manager.
    """

    changes_the_file: bool
    """Whether `check` may write to the file, as a repair does."""

    def check(self, image: memoryview, path: Path, limit: int) -> Findings:
        """Return what is wrong; nothing if the state is right.

        :param image: the bytes of the file at ``path``.
        :param limit: number of log entries that may have been answered.
        """
        ...


@dataclass(frozen=True)
class Wrong:
    """A state that fails its judge. ``state`` is EPOCH:MASK."""

    state: str
    family: str
    description: str
    findings: Findings

    @property
    def text(self) -> str:
        """What is wrong, in words."""
        return str(self.findings)

    def __str__(self) -> str:
        return f"crash state {self.state} ({self.family})\n  {self.description}\n  {self.text}"


@dataclass
class Exploration:
    """The result. ``total`` counts all states, ``distinct`` those within the bounds."""

    entries: int
    epochs: int
    total: int
    generated: int = 0
    distinct: int = 0
    explored: int = 0
    seconds: float = 0.0
    wrong: list[Wrong] = field(default_factory=list)

    def __str__(self) -> str:
        share = self.explored / self.distinct if self.distinct else 1.0
        return (
            f"{self.entries} log entries, {self.epochs} epochs, {_short(self.total)} crash states;"
            f" within bounds {self.generated}, different {self.distinct},"
            f" judged {self.explored} ({share:.0%}) in {self.seconds:.1f} s"
        )

    def must_be_clean(self) -> None:
        """Check that no state is wrong.

        :raise AssertionError: some are wrong, the simplest first; or no state was judged.
        """
        assert self.explored, "no crash state was judged"
        if self.wrong:
            shown = "\n".join(str(one) for one in self.wrong[:_SHOWN])
            more = f"\n{len(self.wrong) - _SHOWN} more" if len(self.wrong) > _SHOWN else ""
            raise WrongAfterCrash(f"wrong after a crash, {self}\n{shown}{more}", self.wrong)


class WrongAfterCrash(AssertionError):  # noqa: N818  # the verdict on a target
    """A crash leaves a wrong state; ``findings`` are those of all wrong states."""

    def __init__(self, text: str, wrong: Sequence[Wrong]) -> None:
        super().__init__(text)
        self.findings = Findings(
            replace(finding, request=f"crash state {one.state}")
            for one in wrong
            for finding in one.findings
        )


def _short(number: int) -> str:
    return str(number) if number < 10**9 else f"{float(min(number, 10**300)):.1e}"


class Workspace:
    """The image file of a worker, which has one state after another.

    :param path: link to the file, which ends with this process.
    """

    def __init__(self, states: CrashStates, end: memoryview, path: Path, keep_copy: bool) -> None:
        self.path = path
        # In memory (memfd_create(2)): what fsck and QEMU sync would cost more than all they do.
        file = self._file = os.memfd_create(path.name)
        path.unlink(missing_ok=True)
        path.symlink_to(f"/proc/{os.getpid()}/fd/{file}")
        os.truncate(file, len(end))
        for at in range(0, len(end), _CHUNK):
            part = end[at : at + _CHUNK].tobytes()
            if part.count(0) != len(part):
                os.pwrite(file, part, at)
        self.image = memoryview(mmap.mmap(file, len(end)))
        self._position = Position(states, self.image)
        self._copy: Position | None = None
        if keep_copy:
            copy = memoryview(mmap.mmap(-1, len(end)))
            copy[:] = end
            self._copy = Position(states, copy)

    def close(self) -> None:
        """Close the file."""
        self.path.unlink()
        os.close(self._file)

    def go(self, candidate: Candidate) -> None:
        """Change the image to a state."""
        self._position.go(candidate.state)
        if self._copy is not None:
            self._copy.go(candidate.state)

    def take_back(self) -> None:
        """Undo the changes that a program made to the file."""
        assert self._copy is not None
        size = len(self.image)
        if self.path.stat().st_size != size:  # a repair may append
            os.truncate(self.path, size)
        copy = self._copy.image
        right, seen = (np.frombuffer(one, dtype=np.uint64) for one in (copy, self.image))
        for at in range(0, size, _CHUNK):
            chunk = slice(at, at + _CHUNK)
            words = slice(at // 8, (at + _CHUNK) // 8)
            if not np.array_equal(right[words], seen[words]):
                self.image[chunk] = copy[chunk]


@dataclass(frozen=True)
class Explorer:
    """An exploration and its options.

    :ivar make_judge: called in each worker, with a private directory.
    :ivar jobs: number of workers; 1 works in this process.
    :ivar within_s: seconds after which no further state is started; 0: no limit.
    :ivar most: stop after this number of wrong states.
    """

    states: CrashStates
    end: memoryview
    entries: int
    make_judge: Callable[[Path], Judge]
    directory: Path
    bounds: Bounds = Bounds()  # noqa: RUF009  # immutable
    seed: int = 1
    jobs: int = 0
    within_s: float = 0.0
    most: int = 5

    def run(self) -> Exploration:
        """Judge all states within the bounds; return wrong ones in the order of enumeration."""
        started_s = clock.now_s()
        total = self.states.total()
        result = Exploration(self.entries, len(self.states.epochs), total)
        jobs = self.jobs or os.cpu_count() or 1
        context = get_context("fork")
        found = context.Value("i", 0)
        parts = [self._look(0, 1, found)] if jobs == 1 else self._fork(jobs, found)
        ordered: list[tuple[int, Wrong]] = []
        for generated, distinct, explored, wrong in parts:
            result.generated = max(result.generated, generated)
            result.distinct = max(result.distinct, distinct)
            result.explored += explored
            ordered += wrong
        result.wrong = [one for _, one in sorted(ordered, key=lambda pair: pair[0])]
        measures.count(measures.CRASH_STATES, result.explored)
        measures.count(measures.CRASH_STATES_OF, result.distinct)
        result.seconds = clock.now_s() - started_s
        return result

    def _fork(self, jobs: int, found: Synchronized[int]) -> list[_Part]:
        context = get_context("fork")
        workers = []
        for number in range(jobs):
            receiving, sending = context.Pipe(duplex=False)
            worker = context.Process(
                target=self._work, args=(number, jobs, found, sending), daemon=True
            )
            worker.start()
            sending.close()
            workers.append((worker, receiving))
        parts: list[_Part] = []
        try:
            for worker, receiving in workers:
                try:
                    answer = receiving.recv()
                except EOFError:
                    raise RuntimeError("a worker of the exploration died") from None
                if isinstance(answer, BaseException):
                    raise answer
                parts.append(answer)
                worker.join()
        finally:
            for worker, receiving in workers:
                worker.kill()
                worker.join()
                receiving.close()
        return parts

    def _work(self, number: int, jobs: int, found: Synchronized[int], sending: Connection) -> None:
        try:
            sending.send(self._look(number, jobs, found))
        except Exception as error:  # of any kind; the parent raises it
            sending.send(_sendable(error))

    def _look(self, number: int, jobs: int, found: Synchronized[int]) -> _Part:
        directory = self.directory / f"explorer{number}"
        directory.mkdir(exist_ok=True)
        with ExitStack() as stack:
            judge = self.make_judge(directory)
            if isinstance(judge, AbstractContextManager):  # one that has started a program
                stack.enter_context(judge)
            image = directory / "image"
            space = Workspace(self.states, self.end, image, judge.changes_the_file)
            stack.callback(space.close)
            return self._judge_share(judge, space, number, jobs, found)

    def _judge_share(
        self, judge: Judge, space: Workspace, number: int, jobs: int, found: Synchronized[int]
    ) -> _Part:
        end_s = clock.now_s() + self.within_s if self.within_s else float("inf")
        explored, wrong = 0, []
        for index, candidate in self._share(number, jobs):
            if found.value >= self.most or clock.now_s() >= end_s:
                break
            space.go(candidate)
            findings = judge.check(space.image, space.path, candidate.limit)
            if judge.changes_the_file:
                space.take_back()
            explored += 1
            if findings:
                found.value += 1
                wrong.append((index, self._wrong(candidate, findings)))
        return self.states.generated, self.states.distinct, explored, wrong

    def _share(self, number: int, jobs: int) -> Iterator[tuple[int, Candidate]]:
        """Yield the candidates of one worker, with their positions among all."""
        candidates = enumerate(self.states.candidates(self.bounds, self.seed))
        for block in count():
            some = list(islice(candidates, _BLOCK))
            if not some:
                return
            if block % jobs == number:
                yield from some

    def _wrong(self, candidate: Candidate, findings: Findings) -> Wrong:
        described = self.states.describe(candidate.state)
        return Wrong(str(candidate.state), candidate.family, described, findings)


def _sendable(error: Exception) -> Exception:
    """Return the error, or one with the same text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # an __init__ may raise anything
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


_Part = tuple[int, int, int, list[tuple[int, Wrong]]]
