"""The only place that starts programs. Each program dies with the case that started it.

A program runs in a process group of its own, so that it and its children end together. It asks the
kernel for SIGKILL when the thread that started it ends (PR_SET_PDEATHSIG, prctl(2)). That signal
is tied to the *thread* that forked, not to the process: a program started from a short-lived thread
would die in the middle of a case. So all starts outside the main thread go through one thread that
lives as long as the process. The end of a program is seen through a pidfd (pidfd_open(2)): no
polling, no signal handler.

setpriv(1), in front of the program, makes the request to the kernel. A preexec_fn would prevent
vfork, and a fork of this large process takes 3 ms where setpriv takes 0.8 ms. If our process dies
within that 0.8 ms, the subreaper ends the program: the runner, or runner/reaper.py if the runner
is gone too.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from typing import IO, TypeVar

from qbdcheck import answers
from qbdcheck.errors import ProgramError, SetupError
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.at_work import AtWork
from qbdcheck.programs.running import RunningProgram, kill_group, status_of_zombie, tail

__all__ = ["DEFAULT_TIMEOUT_S", "Completed", "Process", "describe_exit", "run", "run_brief", "tail"]

DEFAULT_TIMEOUT_S = 30.0
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_T = TypeVar("_T")


@dataclass(frozen=True)
class Completed:
    """A program that has ended. ``returncode`` is negative after a signal."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class _Spawner:
    """A thread that starts programs for other threads and lives as long as the process."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._executor = None
        self._lock = threading.Lock()

    def call(self, start: Callable[[], _T]) -> _T:
        """Run ``start`` in a thread that lives as long as the process."""
        if threading.current_thread() is threading.main_thread():
            return start()
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="spawner")
        return self._executor.submit(start).result()


_spawner = _Spawner()


def _die_with_parent(parent_pid: int) -> Callable[[], None]:
    """Return a preexec function. It neither allocates memory nor takes a lock."""

    def prepare() -> None:
        _prctl(_PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:
            os.kill(os.getpid(), SIGKILL)

    return prepare


@functools.cache
def _pdeathsig_argv() -> tuple[str, ...]:
    """Return the command prefix that ties a program to our life; empty if setpriv lacks it."""
    path = shutil.which("setpriv")
    if path is None:
        return ()
    prefix = (path, "--pdeathsig", "KILL", "--")
    done = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if done.returncode == 0 else ()  # util-linux before 2.33


def _must_be_executable(program: str, search_path: str | None, cwd: Path | None) -> None:
    """Check a program before setpriv runs it, which could report a failure only by its status.

    :raise FileNotFoundError: there is no such program.
    :raise PermissionError: the program is not executable.
    """
    if "/" not in program:
        if shutil.which(program, path=search_path) is None:
            raise FileNotFoundError(program)
        return
    path = (cwd or Path()) / program
    if not path.exists():
        raise FileNotFoundError(program)
    if not path.is_file() or not os.access(path, os.X_OK):
        raise PermissionError(program)


def _start(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    env: Mapping[str, str] | None,
    pass_fds: Sequence[int],
    cwd: Path | None,
) -> subprocess.Popen[bytes]:
    full_env = None if env is None else {**os.environ, **env}
    wrapper = _pdeathsig_argv()

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*wrapper, *argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=full_env,
            pass_fds=pass_fds,
            cwd=cwd,
            process_group=0,
            # The function takes no lock.
            preexec_fn=None if wrapper else _die_with_parent(os.getpid()),  # noqa: PLW1509
        )

    try:
        if wrapper:
            _must_be_executable(argv[0], (full_env or os.environ).get("PATH"), cwd)
        return _spawner.call(start)
    except FileNotFoundError:
        raise SetupError(f"{argv[0]}: no such program; install it or put it on PATH") from None
    except PermissionError:
        raise SetupError(f"{argv[0]}: not executable, or no permission to run it") from None
    except OSError as error:
        raise SetupError(f"{argv[0]}: cannot be started: {error.strerror}") from None


def describe_exit(returncode: int | None) -> str:
    """Return how a program ended, such as ``exited with 1`` or ``was killed by SIGABRT``."""
    if returncode is None:
        return "is still running"
    if returncode >= 0:
        return f"exited with {returncode}"
    try:
        return f"was killed by {Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    check: bool = True,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end. Return its output, decoded as UTF-8 with backslash escapes.

    :param timeout_s: seconds of work on the idle machine (see `Limit`).
    :param check: raise if the exit status is not 0.
    :raise ProgramError: the program failed, or did not end within ``timeout_s`` seconds and was
        killed.
    :raise SetupError: the program cannot be started.
    """
    command = tuple(os.fspath(argument) for argument in argv)
    limit = Limit(timeout_s)
    popen = _start(
        command,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        pass_fds=(),
        cwd=cwd,
    )
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        work = AtWork(popen.pid)
        done_with = _communicate(popen, data, limit, work)
        if done_with is None:
            kill_group(popen.pid, SIGKILL)
            out, err = popen.communicate()
            message = f"{command[0]} did not end within {limit.seconds:g} s: {' '.join(command)}"
            outputs = _text(out), _text(err)
            raise ProgramError(message, command, None, *outputs, at_work=work.is_steady)
        out, err = done_with
    except BaseException:
        kill_group(popen.pid, SIGKILL)
        popen.wait()
        raise
    answers.came()
    done = Completed(command, popen.returncode, _text(out), _text(err))
    if check and done.returncode != 0:
        why = tail(done.stderr) or tail(done.stdout) or "it printed nothing"
        message = (
            f"{Path(command[0]).name} {describe_exit(done.returncode)}: {why}"
            f" (command: {' '.join(command)})"
        )
        raise ProgramError(message, command, done.returncode, done.stdout, done.stderr)
    return done


def _communicate(
    popen: subprocess.Popen[bytes], data: bytes, limit: Limit, work: AtWork
) -> tuple[bytes, bytes] | None:
    """Send `data` to a program and return its output at its end; None after the limit."""
    sent: bytes | None = data or None
    while True:
        left_s = limit.left_s()
        try:
            return popen.communicate(sent, left_s)
        except subprocess.TimeoutExpired:  # no output is lost
            sent = None
            work.note()
            if left_s == 0:
                return None


def run_brief(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program that takes milliseconds. Costs half of `run`; made for thousands of calls.

    The program stays in our process group and ends only with that group. It writes to files in
    memory, so the caller need not read while it runs. Any exit status is returned.

    :raise ProgramError: the program did not end within ``timeout_s`` seconds and was killed.
    :raise SetupError: the program cannot be started.
    """
    command = tuple(os.fspath(argument) for argument in argv)
    files = [os.memfd_create(name) for name in ("out", "err")]
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            *((os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files, 1)),
        ]
        pid = os.posix_spawnp(
            command[0], command, {**os.environ, **(env or {})}, file_actions=actions
        )
        limit = Limit(timeout_s)
        ended = _wait_brief(pid, limit)
        out, err = (_text(os.pread(file, os.fstat(file).st_size, 0)) for file in files)
    except FileNotFoundError:
        raise SetupError(f"{command[0]}: no such program; install it or put it on PATH") from None
    finally:
        for file in files:
            os.close(file)
    if ended is None:
        message = f"{command[0]} did not end within {limit.seconds:g} s: {' '.join(command)}"
        raise ProgramError(message, command, None, out, err)
    return Completed(command, ended, out, err)


def _wait_brief(pid: int, limit: Limit) -> int | None:
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        in_time = False
        while not in_time and (left_s := limit.left_s()):
            in_time = bool(poll.poll(left_s * 1000))
        if not in_time:
            os.kill(pid, SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) if in_time else None
    finally:
        os.close(pidfd)


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "backslashreplace")


class Process(RunningProgram):
    """A program that runs in the background of the case. Its output goes to files or pipes.

    :param directory: holds ``NAME.out`` (stdout) and ``NAME.err`` (stderr); output is appended.
    :param interactive: stdin and stdout are pipes, and stderr goes to stdout.
    :param leaves_daemon: the program goes into the background (see `Daemon`). Its group lives on
        when it ends.
    :raise SetupError: the program cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        directory: Path,
        name: str,
        *,
        interactive: bool = False,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        cwd: Path | None = None,
        leaves_daemon: bool = False,
    ) -> None:
        command = tuple(os.fspath(argument) for argument in argv)
        self._leaves_daemon = leaves_daemon
        self._starter_pid = os.getpid()
        self.name = name
        self.out_file = directory / f"{name}.out"
        self.err_file = directory / f"{name}.err"
        if interactive:
            self._popen = _start(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=pass_fds,
                cwd=cwd,
            )
        else:
            self._popen = self._start_to_files(command, env, pass_fds, cwd)
        super().__init__(command, self._popen.pid)

    def _start_to_files(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None,
        pass_fds: Sequence[int],
        cwd: Path | None,
    ) -> subprocess.Popen[bytes]:
        try:
            with self.out_file.open("ab") as out, self.err_file.open("ab") as err:
                return _start(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=env,
                    pass_fds=pass_fds,
                    cwd=cwd,
                )
        except OSError as error:
            raise SetupError(
                f"cannot write the output of {command[0]} to {self.out_file.parent}: "
                f"{error.strerror}"
            ) from None

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to the stdin of an interactive program."""
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from the stdout and stderr of an interactive program."""
        assert self._popen.stdout is not None
        return self._popen.stdout

    def output(self) -> str:
        """Return the output so far. Empty for an interactive program."""
        texts = [
            _text(file.read_bytes()) for file in (self.out_file, self.err_file) if file.exists()
        ]
        return "".join(texts)

    def _exit_status(self) -> int:
        assert self._popen.returncode is not None
        return self._popen.returncode

    def _describe_state(self) -> str:
        return describe_exit(self.returncode)

    def wait(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> int:
        """Wait for the end. Return the exit status; negative after a signal.

        :raise ProgramError: the program did not end in time and was killed.
        """
        limit = Limit(timeout_s)
        if not self.has_ended_in(limit):
            self.kill()
            message = f"{self.argv[0]} did not end within {limit.seconds:g} s"
            raise ProgramError(message, self.argv, None, self.output())
        return self._exit_status()

    def _reap(self) -> None:
        # Kill the group before the leader is reaped: until then its number cannot be reused.
        # This also ends children that the program left in its group.
        status = None if self._starter_pid == os.getpid() else status_of_zombie(self.pid)
        if self._leaves_daemon:
            os.kill(self.pid, SIGKILL)
        else:
            kill_group(self.pid, SIGKILL)
        if status is None:
            self._popen.wait()
        else:  # it was inherited by fork: only its parent can collect it
            self._popen.returncode = status
        self._close_pidfd()

    def close_pipes(self) -> None:
        """Close the pipes of an interactive program."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
