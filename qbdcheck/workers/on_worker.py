"""What runs in a Dask worker: functions that the client submits. They keep no result.

A worker keeps engines that are idle, so that a unit does not wait for the start of one. All answers
are plain objects. An engine that ends without an answer raises `EngineLost`.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qbdcheck.errors import QbdcheckError, UsageError
from qbdcheck.files import ROOT
from qbdcheck.programs.process import Process
from qbdcheck.runner.reaper import MARK
from qbdcheck.workers.channel import KEPT, Channel
from qbdcheck.workers.setup import Setup

_POLL_S = 0.5
_SETUP_S = 900.0
"""Longest time for the start of an engine: it may build the image of a guest."""
_END_S = 10.0
_MOST_BYTES = 64 << 20
"""Bytes of files that come back with one result; a file is at most 1 MiB (`keep_artefacts`)."""

_lock = threading.Lock()
_idle: dict[str, list[Engine]] = {}
_setups: dict[str, Setup] = {}


class EngineLost(QbdcheckError):  # noqa: N818  # an event
    """The process that ran a unit ended without a result, such as by SIGKILL."""


class Engine:
    """A process of `qbdcheck.workers.engine` and the socket to it.

    :ivar ready: what it said when it was ready.
    :raise UsageError: it cannot run anything here; one line.
    """

    def __init__(self, setup: Setup, task: Task) -> None:
        self._channel, theirs = Channel.pair()
        self._log_dir = Path(tempfile.mkdtemp(prefix="engine-", dir=task.directory))
        with contextlib.closing(theirs):
            self._process = Process(
                [sys.executable, "-m", "qbdcheck.workers.engine", str(theirs.descriptor)],
                self._log_dir,
                "engine",
                env={MARK: "", "PYTHONPATH": _python_path()},
                pass_fds=[theirs.descriptor],
                cwd=ROOT,
            )
        try:
            self._channel.send({"setup": base64.b64encode(pickle.dumps(setup)).decode()})
            answer = self._answer(task, _SETUP_S)
            if "error" in answer:
                raise UsageError(str(answer["error"]))
        except BaseException:
            self.end()
            raise
        self.ready: dict[str, Any] = answer["ready"]

    def run(self, unit: dict[str, Any], task: Task) -> dict[str, Any]:
        """Run one unit, and return its result with its files.

        :raise EngineLost: the process ended without a result.
        """
        self._channel.send({"unit": unit})
        while True:
            answer = self._answer(task)
            if "test" in answer:
                task.tell({"test": answer["test"]})
                continue
            answer["pid"] = self._process.pid
            return answer

    def _answer(self, task: Task, limit_s: float = float("inf")) -> dict[str, Any]:
        waited_s = 0.0
        while True:
            try:
                answer = self._channel.receive(_POLL_S)
            except TimeoutError:
                waited_s += _POLL_S
                if task.is_cancelled() or waited_s > limit_s:
                    raise EngineLost("the unit was cancelled") from None
                continue
            if answer is None:
                self._process.has_ended_within(_END_S)
                raise EngineLost(self._process.describe())
            return answer

    @property
    def is_alive(self) -> bool:
        """Whether it can take a unit."""
        return not self._process.has_ended_within(0) and not self._channel.is_closed()

    def end(self) -> None:
        """End the process and all that it started."""
        self._channel.close()
        with contextlib.suppress(QbdcheckError, OSError):
            self._process.stop(signal.SIGTERM, _END_S)
        shutil.rmtree(self._log_dir, ignore_errors=True)


class Task:
    """The Dask task that this thread runs.

    :param topic: the topic for what it tells while it runs.
    """

    def __init__(self, topic: str, attempt: int) -> None:
        from distributed.worker import get_worker, thread_state

        self._worker = get_worker()
        self._key = thread_state.key
        self._topic = topic
        self._attempt = attempt

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to the client."""
        self._worker.log_event(self._topic, {**message, "attempt": self._attempt})

    @property
    def directory(self) -> str:
        """The directory of the worker, which Dask removes."""
        return str(self._worker.local_directory)

    def is_cancelled(self) -> bool:
        """Return whether nobody waits for the task, because the client is gone."""
        state = self._worker.state.tasks.get(self._key)
        return state is None or state.state not in ("executing", "long-running")


def describe(setup: Setup) -> dict[str, Any]:
    """Start an engine; return what it said. ``refused`` in it has the reason if there is none."""
    try:
        setup.check_source()
        with _lock:
            _setups[setup.session] = setup
        with _engine(setup.session, Task(setup.session, -1)) as engine:
            return engine.ready
    except (UsageError, EngineLost) as error:
        return {"refused": " ".join(str(error).split())}


def run_unit(session: str, attempt: int, unit: dict[str, Any]) -> dict[str, Any]:
    """Run a unit on an idle engine, or on a new one; return its result with the files.

    A lost engine is an answer with ``lost``.
    """
    task = Task(session, attempt)
    try:
        with _engine(session, task) as engine:
            return _with_files(engine.run(unit, task), Path(engine.ready["scratch"]))
    except EngineLost as error:
        return {"lost": str(error)}


def end_session(session: str) -> None:
    """End the idle engines of a run. Engines that run a unit end when that is cancelled."""
    with _lock:
        _setups.pop(session, None)
        engines = _idle.pop(session, [])
    for engine in engines:
        engine.end()


@contextlib.contextmanager
def _engine(session: str, task: Task) -> Iterator[Engine]:
    """Take an engine; keep it for the next unit, unless something went wrong."""
    engine = _idle_engine(session)
    if engine is None:
        with _lock:
            setup = _setups.get(session)
        if setup is None:
            raise EngineLost("the run has ended")
        engine = Engine(setup, task)
    try:
        yield engine
    except BaseException:
        engine.end()
        raise
    with _lock:
        is_open = session in _setups
        if is_open:
            _idle.setdefault(session, []).append(engine)
    if not is_open:
        engine.end()


def _idle_engine(session: str) -> Engine | None:
    while True:
        with _lock:
            engines = _idle.get(session) or []
            engine = engines.pop() if engines else None
        if engine is None or engine.is_alive:
            return engine
        engine.end()


def _with_files(answer: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Return an answer with the contents of its files, which are removed."""
    files: dict[str, bytes] = {}
    if name := answer.get("directory"):
        directory = scratch / KEPT / name
        total = 0
        for path in sorted(directory.rglob("*")):
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
                if total <= _MOST_BYTES:
                    files[str(path.relative_to(directory))] = path.read_bytes()
        shutil.rmtree(directory, ignore_errors=True)
    return {**answer, "files": files}


def _python_path() -> str:
    """Return where Python finds this qbdcheck, before what the worker has."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))


def run_command(session: str, attempt: int, command: dict[str, Any]) -> dict[str, Any]:
    """Run a command of this project to its end; return its exit code, output and files.

    ``argv`` in `command` are the arguments of Python. ``@DIR@`` in it becomes a directory, whose
    files come back; ``@ROOT@`` that of the project.
    """
    task = Task(session, attempt)
    with tempfile.TemporaryDirectory(prefix="command-", dir=task.directory) as name:
        here = Path(name)
        words = [
            word.replace("@DIR@", name).replace("@ROOT@", str(ROOT)) for word in command["argv"]
        ]
        process = Process(
            [sys.executable, *words],
            here,
            "command",
            env={MARK: "", "PYTHONPATH": _python_path(), "XDG_CACHE_HOME": name},
            cwd=ROOT,
        )
        while not process.has_ended_within(_POLL_S):
            if task.is_cancelled():
                process.stop(signal.SIGTERM, _END_S)
                return {"lost": "the unit was cancelled"}
        code = process.stop(signal.SIGTERM, _END_S)
        if code < 0:
            return {"lost": process.describe()}
        files = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
        return {"code": code, "output": process.output(), "files": files}
