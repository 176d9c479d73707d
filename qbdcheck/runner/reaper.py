"""The last man: a process that outlives the runner, even its SIGKILL, and cleans up after it.

It holds the reading end of a pipe whose writing end only the runner has: end of file means that
the runner is gone. Then it kills what the run has left (who has the run's mark in its environment,
or works in, or runs from, the run's scratch directory), unmounts what is mounted there and removes
the directory. A run that ends well has removed all that itself, and finds nothing left to do here.
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

from qbdcheck import clock
from qbdcheck.errors import SetupError

MARK = "QBDCHECK_RUN"
"""Environment variable with the run's scratch directory: in every process of a run."""
_MNT_DETACH = 2
_ROUNDS = 100
_KEEP = b"keep"


class Reaper:
    """The handle of the runner on its reaper, and on the scratch directory that it watches over.

    Start it before the first thread and the first case, and early: what is imported later is not in
    its memory. As a context it ends when the run does.

    :param parent: gets the run's private directory, with a short name: sockets are in it.
    :param keep: the directory stays when the run has ended well.
    :raise SetupError: the directory cannot be made: no permission, a full disk.
    """

    def __init__(self, parent: Path, keep: bool = False) -> None:
        self._keep = keep
        self.scratch_root = scratch_root = _make_scratch_root(parent)
        os.environ[MARK] = str(scratch_root)
        reading, self._writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _wait_and_clean(reading, scratch_root)
            finally:
                os._exit(0)
        os.close(reading)

    def leave_to_runner(self) -> None:
        """In a forked child: let go of the pipe, so that its end tells of the runner alone."""
        os.close(self._writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """The run is over: let the reaper clean up, and wait for it."""
        if self._keep:
            os.write(self._writing, _KEEP)
        os.environ.pop(MARK, None)
        os.close(self._writing)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _make_scratch_root(parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="qc-", dir=parent))
    except OSError as error:
        raise SetupError(
            f"cannot make a scratch directory in {parent}: {error.strerror}; set TMPDIR to another"
        ) from error


def _wait_and_clean(reading: int, scratch_root: Path) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # Whoever reads the runner's output, a pipe say, must not wait for us; nor may a file stay open.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.dup2(reading, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")
    said = b""
    while chunk := os.read(3, 16):
        said += chunk
    clean(scratch_root, keep=said == _KEEP)


def clean(scratch_root: Path, keep: bool = False) -> None:
    """Kill all processes of the run, unmount and remove its scratch directory."""
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
    """PIDs of processes that belong to the run: by mark, working directory or arguments."""
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
    """Detach every file system that is mounted below `root` (FUSE exports), the innermost first."""
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
    """A case may have made a directory read-only: open it and try once more."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101,PTH120
        if Path(path).is_dir() and not Path(path).is_symlink():
            os.chmod(path, 0o700)  # noqa: PTH101
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)  # noqa: PTH108
