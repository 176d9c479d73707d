"""The directory of results: one directory for each run, and the link ``latest``.

A run's directory has its id as its name. It contains ``report.json`` (written at the end),
``events.jsonl`` (written as it happens, so that a killed run leaves its events) and the files of
cases that failed. Any number of runs share the directory: a lock marks those that are running.
The directory is bounded: see `tidy`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Self

REPORT = "report.json"
EVENTS = "events.jsonl"
LATEST = "latest"
WHOLE_RUNS = 20
"""Runs that keep all their files; older ones keep only their report."""
KEPT_RUNS = 200
"""Runs that keep their report."""
MOST_BYTES = 1 << 30
"""Above this total size, further runs keep only their report, the oldest first."""
_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}-\d+")
_RUN_LOCK = ".running"
"""Locked file in the results directory of a running run."""


class RunningMark:
    """Marks the results directory of a running run, so that other runs do not remove it.

    The mark is a lock, which ends with the process. An unwritable directory is not an error.
    """

    def __init__(self, results_dir: Path) -> None:
        self._dir = results_dir
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            results_dir.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(results_dir / _RUN_LOCK, flags, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the mark, and the directory if it is empty then."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                (self._dir / _RUN_LOCK).unlink()
                self._dir.rmdir()
            os.close(self._descriptor)
            self._descriptor = None


def is_running(results_dir: Path) -> bool:
    """Return whether the run of this directory is still running."""
    try:
        descriptor = os.open(results_dir / _RUN_LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def saved_runs(root: Path) -> list[Path]:
    """Return the directories of runs that have ended, or were killed; the newest is the last.

    Names start with the local time of the start, in seconds. Within a second the end decides.
    """
    found = []
    for directory in _directories(root):
        kept = next(filter(Path.exists, (directory / REPORT, directory / EVENTS)), None)
        if kept is not None and not is_running(directory):
            with contextlib.suppress(OSError):
                found.append((directory.name[:15], kept.stat().st_mtime_ns, directory))
    return [directory for *_, directory in sorted(found)]


def link_latest(root: Path) -> None:
    """Let the link ``latest`` lead to the newest run that has ended. Replaced in one step."""
    runs = [run for run in saved_runs(root) if (run / REPORT).exists()]
    if not runs:
        return
    temporary = root / f".{LATEST}.{os.getpid()}"
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(runs[-1].name)
        try:
            temporary.replace(root / LATEST)
        finally:
            temporary.unlink(missing_ok=True)


def tidy(root: Path) -> None:
    """Remove what is too much, but nothing of running runs and nothing but directories of runs.

    The newest 20 runs keep all their files, the newest 200 their report. All files together are at
    most 1 GiB, apart from those of the newest run.
    """
    with contextlib.suppress(OSError):
        runs = sorted(_directories(root))
        for run in runs[:-KEPT_RUNS]:
            if not is_running(run):
                shutil.rmtree(run, ignore_errors=True)
        for run in runs[-KEPT_RUNS:-WHOLE_RUNS]:
            _strip(run)
        whole = runs[-WHOLE_RUNS:]
        sizes = [_size(run) for run in whole]
        for index, run in enumerate(whole[:-1]):
            if sum(sizes[index:]) > MOST_BYTES:
                _strip(run)


def _directories(root: Path) -> Iterable[Path]:
    with contextlib.suppress(OSError):
        return [path for path in root.iterdir() if _RUN_ID.fullmatch(path.name)]
    return []


def _strip(run: Path) -> None:
    """Remove all files of a run but its report; one that has none, or is running, stays whole."""
    kept = REPORT if (run / REPORT).exists() else EVENTS
    if is_running(run):
        return
    for path in run.iterdir():
        if path.name == kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run.rmdir()  # only a run without a report is empty now


def _size(run: Path) -> int:
    total = 0
    for directory, _, files in os.walk(run):
        for name in files:
            with contextlib.suppress(OSError):
                total += (Path(directory) / name).lstat().st_size
    return total
