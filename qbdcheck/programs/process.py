"""The only place that starts programs. Each dies with the case that started it.

A program runs in a process group of its own, so that it goes down together with what it started,
and asks the kernel to be killed when the thread that started it ends (PR_SET_PDEATHSIG, prctl(2)).
That signal is tied to the *thread* that forked, not to the process: a program started from a
short-lived thread would die in mid-case, so all starts outside the main thread go through one
thread that lives as long as the process. Waiting is done on a pidfd (pidfd_open(2)): no polling, no
signal handler.

Who asks the kernel is setpriv(1), in front of the program: what Python runs between fork and exec
(preexec_fn) forbids vfork, and a fork of this large process takes 3 ms where setpriv takes 0.8.
A process that dies in that 0.8 ms leaves the program to whoever reaps orphans: the runner, or
reaper.py when that is gone as well.
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
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, TypeVar

from qbdcheck.errors import ProgramError, SetupError

DEFAULT_TIMEOUT_S = 30.0
TERM_GRACE_S = 5.0
"""How long a program may take to end after SIGTERM before it gets SIGKILL."""
_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 5

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_T = TypeVar("_T")


@dataclass(frozen=True)
class Completed:
    """A program that has ended. ``returncode`` is negative when a signal killed it."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class _Spawner:
    """The long-lived thread that starts programs on behalf of other threads."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._executor = None
        self._lock = threading.Lock()

    def call(self, start: Callable[[], _T]) -> _T:
        """Run ``start`` in a thread that lives as long as this process."""
        if threading.current_thread() is threading.main_thread():
            return start()
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="spawner")
        return self._executor.submit(start).result()


_spawner = _Spawner()


def _die_with_parent(parent_pid: int) -> Callable[[], None]:
    """Return what a new process does before exec: nothing in it allocates or takes a lock."""

    def prepare() -> None:
        _prctl(_PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:
            os.kill(os.getpid(), SIGKILL)

    return prepare


@functools.cache
def _pdeathsig_words() -> tuple[str, ...]:
    """Return the words in front of a program that is to die with us; none where setpriv cannot."""
    path = shutil.which("setpriv")
    if path is None:
        return ()
    words = (path, "--pdeathsig", "KILL", "--")
    done = subprocess.run([*words, "true"], capture_output=True, check=False)
    return words if done.returncode == 0 else ()  # util-linux before 2.33


def _must_be_executable(program: str, search_path: str | None, cwd: Path | None) -> None:
    """Find out before setpriv does, which could only exit with a status.

    :raise FileNotFoundError: there is no such program. :raise PermissionError: not executable.
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
    wrapper = _pdeathsig_words()

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
            # It takes no lock.
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
    """Say in words how a program ended: ``exited with 1``, ``was killed by SIGABRT``."""
    if returncode is None:
        return "is still running"
    if returncode >= 0:
        return f"exited with {returncode}"
    try:
        return f"was killed by {Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """Return the last non-empty lines of a program's output on one line, joined by `` | ``."""
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(kept[-lines:])


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    check: bool = True,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end and return its output, decoded as UTF-8 with backslash escapes.

    :param check: raise when it ends with anything but 0.
    :raise ProgramError: it failed, or did not end within ``timeout_s`` seconds (and was killed).
    :raise SetupError: it cannot be started.
    """
    words = tuple(os.fspath(word) for word in argv)
    popen = _start(
        words,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        pass_fds=(),
        cwd=cwd,
    )
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        out, err = popen.communicate(data or None, timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(popen.pid, SIGKILL)
        out, err = popen.communicate()
        message = f"{words[0]} did not end within {timeout_s:g} s: {' '.join(words)}"
        raise ProgramError(message, words, None, _text(out), _text(err)) from None
    except BaseException:
        kill_group(popen.pid, SIGKILL)
        popen.wait()
        raise
    done = Completed(words, popen.returncode, _text(out), _text(err))
    if check and done.returncode != 0:
        why = tail(done.stderr) or tail(done.stdout) or "without a word"
        message = f"{words[0]} {describe_exit(done.returncode)}: {why} (command: {' '.join(words)})"
        raise ProgramError(message, words, done.returncode, done.stdout, done.stderr)
    return done


def run_brief(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program that lasts milliseconds, as thousands do: half of the cost of `run`.

    It is in our process group and goes down with that, and nothing else guards it; it writes to
    files in memory, so that nobody need read beside it. Any exit status is returned.

    :raise ProgramError: it did not end within ``timeout_s`` seconds (and was killed).
    :raise SetupError: it cannot be started.
    """
    words = tuple(os.fspath(word) for word in argv)
    files = [os.memfd_create(name) for name in ("out", "err")]
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            *((os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files, 1)),
        ]
        pid = os.posix_spawnp(words[0], words, {**os.environ, **(env or {})}, file_actions=actions)
        ended = _wait_brief(pid, timeout_s)
        out, err = (_text(os.pread(file, os.fstat(file).st_size, 0)) for file in files)
    except FileNotFoundError:
        raise SetupError(f"{words[0]}: no such program; install it or put it on PATH") from None
    finally:
        for file in files:
            os.close(file)
    if ended is None:
        message = f"{words[0]} did not end within {timeout_s:g} s: {' '.join(words)}"
        raise ProgramError(message, words, None, out, err)
    return Completed(words, ended, out, err)


def _wait_brief(pid: int, timeout_s: float) -> int | None:
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        in_time = bool(poll.poll(timeout_s * 1000))
        if not in_time:
            os.kill(pid, SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) if in_time else None
    finally:
        os.close(pidfd)


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "backslashreplace")


def kill_group(pid: int, number: Signals) -> None:
    """Signal a process group; that it is gone already is what we want."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class Process:
    """A program that runs beside the case, its output in files, or (interactive) on pipes.

    :param directory: gets ``NAME.out`` (stdout) and ``NAME.err`` (stderr), appended to.
    :param interactive: stdin and stdout are pipes, and stderr goes where stdout goes.
    :param leaves_daemon: it goes into the background (see `Daemon`): its end is not its group's.
    :raise SetupError: it cannot be started.
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
        self._leaves_daemon = leaves_daemon
        self.argv = tuple(os.fspath(word) for word in argv)
        self.name = name
        self.out_file = directory / f"{name}.out"
        self.err_file = directory / f"{name}.err"
        if interactive:
            self._popen = _start(
                self.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=pass_fds,
                cwd=cwd,
            )
        else:
            self._popen = self._start_to_files(env, pass_fds, cwd)
        self.pid = self._popen.pid
        self._pidfd: int | None = os.pidfd_open(self.pid)

    def _start_to_files(
        self, env: Mapping[str, str] | None, pass_fds: Sequence[int], cwd: Path | None
    ) -> subprocess.Popen[bytes]:
        try:
            with self.out_file.open("ab") as out, self.err_file.open("ab") as err:
                return _start(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=env,
                    pass_fds=pass_fds,
                    cwd=cwd,
                )
        except OSError as error:
            raise SetupError(
                f"cannot write the output of {self.argv[0]} to {self.out_file.parent}: "
                f"{error.strerror}"
            ) from None

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to an interactive program."""
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from an interactive program: its stdout and stderr."""
        assert self._popen.stdout is not None
        return self._popen.stdout

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative when a signal killed it."""
        return self._popen.returncode if self.has_ended_within(0) else None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.has_ended_within(0)

    def output(self) -> str:
        """All that it has written to stdout and stderr so far (not of an interactive one)."""
        texts = [
            _text(file.read_bytes()) for file in (self.out_file, self.err_file) if file.exists()
        ]
        return "".join(texts)

    def describe(self) -> str:
        """Say how it ended and what it said last, on one line."""
        said = tail(self.output())
        how = f"{Path(self.argv[0]).name} {describe_exit(self.returncode)}"
        return f"{how}: {said}" if said else f"{how} without a word"

    def has_ended_within(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds for its end; say whether it came."""
        if self._pidfd is None:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(max(0.0, timeout_s) * 1000):
            return False
        self._reap()
        return True

    def wait(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> int:
        """Wait for its end and return the exit status; negative when a signal killed it.

        :raise ProgramError: it did not end in time; it is killed.
        """
        if not self.has_ended_within(timeout_s):
            self.kill()
            message = f"{self.argv[0]} did not end within {timeout_s:g} s"
            raise ProgramError(message, self.argv, None, self.output())
        assert self._popen.returncode is not None
        return self._popen.returncode

    def signal(self, number: Signals) -> None:
        """Send a signal to the program itself, not to what it started."""
        if self.is_running:
            self._popen.send_signal(number)

    def stop(self, number: Signals = SIGTERM, grace_s: float = TERM_GRACE_S) -> int:
        """End it politely, and by SIGKILL after ``grace_s`` seconds; return the exit status."""
        self.signal(number)
        if not self.has_ended_within(grace_s):
            self.kill()
        return self.wait()

    def kill(self) -> int:
        """SIGKILL it and all that it started; return the exit status."""
        if self._pidfd is not None:
            self._reap()
        assert self._popen.returncode is not None
        return self._popen.returncode

    def _reap(self) -> None:
        # The group first, then the leader: until it is reaped, its number belongs to nobody else.
        # What a program left behind in its group goes too: a forked server child, say.
        if self._leaves_daemon:
            os.kill(self.pid, SIGKILL)
        else:
            kill_group(self.pid, SIGKILL)
        self._popen.wait()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def close_pipes(self) -> None:
        """Close the pipes of an interactive program."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
