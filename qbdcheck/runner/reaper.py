"""The reaper: a process that cleans up after the runner, even if the runner is killed by SIGKILL.

It holds the reading end of a pipe; only the runner has the writing end. End of file means that the
runner is gone. The reaper then kills the processes of the run (those with the run's mark in their
environment, or with a working directory in the run's scratch directory), unmounts file systems
there and removes the directory. After a normal run there is nothing left to clean up.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from qbdcheck import clock, interrupts
from qbdcheck.errors import SetupError

MARK = "QBDCHECK_RUN"
"""Environment variable with the run's scratch directory: in every process of a run."""
_MNT_DETACH = 2
_ROUNDS = 100
_KEEP = b"keep"


class Reaper:
    """Handle for the reaper process and the scratch directory of the run.

    Create it before the first thread and the first case, and before large imports, which would use
    memory in the reaper too. As a context manager it ends with the run. Until then `tempfile` makes
    everything below the scratch directory: what is made elsewhere would stay after SIGKILL.

    :param parent: directory for the run's private directory, which has a short name for sockets.
    :param keep: keep the private directory if the run ends normally.
    :raise SetupError: the directory cannot be created: no permission, a full disk.
    """

    def __init__(self, parent: Path | str, keep: bool = False) -> None:
        self._keep = keep
        with interrupts.held():  # no directory without its reaper
            self.scratch_root = scratch_root = _make_scratch_root(parent)
            os.environ[MARK] = tempfile.tempdir = str(scratch_root)
            reading, self._writing = os.pipe()
            self.pid = os.fork()
            if self.pid == 0:
                try:
                    _wait_and_clean(reading, scratch_root)
                finally:
                    os._exit(0)
            os.close(reading)

    def leave_to_runner(self) -> None:
        """Close the pipe in a forked child, so that its end depends on the runner only."""
        os.close(self._writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let the reaper clean up, and wait for it."""
        if self._keep:
            os.write(self._writing, _KEEP)
        os.environ.pop(MARK, None)
        tempfile.tempdir = None
        os.close(self._writing)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _make_scratch_root(parent: Path | str) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="qc-", dir=parent))
    except OSError as error:
        raise SetupError(
            f"cannot create a scratch directory in {parent}: {error.strerror}; set TMPDIR"
        ) from error


def _wait_and_clean(reading: int, scratch_root: Path) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # A reader of the runner's output must not wait for the reaper; no file may stay open.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.dup2(reading, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")
    received = b""
    while chunk := os.read(3, 16):
        received += chunk
    clean(scratch_root, keep=received == _KEEP)


def clean(scratch_root: Path, keep: bool = False) -> None:
    """Kill all processes of the run; unmount and remove its scratch directory."""
    for _ in range(_ROUNDS):
        left = list(processes_of(scratch_root))
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
        clock.pause(0.005)
    unmount_below(scratch_root)
    if not keep:
        shutil.rmtree(scratch_root, onerror=_make_writable)


def processes_of(scratch_root: Path) -> Iterator[int]:
    """Yield the PIDs of processes of the run: those with its mark or working directory."""
    root = os.fsencode(scratch_root)
    mark = MARK.encode() + b"=" + root
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if (entry / "stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                continue
            if mark in (entry / "environ").read_bytes().split(b"\0") or _is_below(
                os.fsencode((entry / "cwd").readlink()), root
            ):
                yield int(entry.name)


def _is_below(path: bytes, root: bytes) -> bool:
    path = path.removesuffix(b" (deleted)")
    return path == root or path.startswith(root + b"/")


def unmount_below(root: Path) -> None:
    """Detach all file systems mounted below `root` (FUSE exports), the innermost first."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    points = [line.split()[4] for line in lines]
    below = [point for point in points if point.startswith(f"{root}/")]
    libc = ctypes.CDLL(None, use_errno=True)
    for point in reversed(below):
        if libc.umount2(os.fsencode(point), _MNT_DETACH) != 0:
            for program in ("fusermount3", "fusermount"):
                if path := shutil.which(program):
                    os.spawnv(os.P_WAIT, path, [program, "-uz", point])  # noqa: S606
                    break


def _make_writable(_function: object, path: str, _error: object) -> None:
    """Make a read-only directory writable and try again; an error handler of rmtree."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101,PTH120
        if Path(path).is_dir() and not Path(path).is_symlink():
            os.chmod(path, 0o700)  # noqa: PTH101
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)  # noqa: PTH108
