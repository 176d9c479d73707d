"""Files that runs leave for later runs: durations and last verdicts.

They are in ``$XDG_CACHE_HOME/qbdcheck`` (``~/.cache/qbdcheck``): ``elapsed/TARGET-FORMAT.json``,
``history.jsonl`` (one line for each run), ``last-run.jsonl`` (for ``--resume`` and
``--last-failed``); `qbdcheck.catalogue.results_root` has the results. No verdict depends on them: a
damaged file counts as empty, and an unwritable directory is not an error. Any number of runs may
use them at the same time: a lock protects each update.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qbdcheck.errors import UsageError
from qbdcheck.files import write_atomically
from qbdcheck.verdict import Verdict

_HISTORY_LINES = 1000


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """Return ``$XDG_CACHE_HOME/qbdcheck``, or ``~/.cache/qbdcheck`` if that is not absolute."""
    chosen = Path(environment.get("XDG_CACHE_HOME", ""))
    if chosen.is_absolute():
        return chosen / "qbdcheck"
    return Path(environment.get("HOME", "/")) / ".cache" / "qbdcheck"


def check_home(environment: Mapping[str, str]) -> None:
    """Check that the home directory exists if the cache is in it. Root could create any path.

    :raise UsageError: it does not exist.
    """
    if Path(environment.get("XDG_CACHE_HOME", "")).is_absolute():
        return
    home = environment.get("HOME", "/")
    if not Path(home).is_dir():
        raise UsageError(
            f"HOME={home} is not a directory; set HOME, or XDG_CACHE_HOME for the cache"
        )


@dataclass
class Elapsed:
    """Durations in seconds and last verdicts of the cases of one target and image format."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    _recorded: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, cache_dir: Path, target: str, image_format: str) -> Elapsed:
        """Return the records of earlier runs; empty if there are none, or none are readable."""
        name = re.sub(r"[^A-Za-z0-9._+-]", "_", f"{target}-{image_format}")
        return cls.read(cache_dir / "elapsed" / f"{name}.json")

    @classmethod
    def read(cls, path: Path) -> Elapsed:
        """Return the records in the file at `path`, without damaged entries."""
        loaded = cls(path)
        content = _read_json(loaded.path)
        for case_id, entry in content.items():
            if isinstance(entry, dict):
                seconds, verdict = entry.get("elapsed_s"), entry.get("verdict")
                if isinstance(seconds, int | float) and 0 <= seconds < float("inf"):
                    loaded.seconds[case_id] = float(seconds)
                if isinstance(verdict, str):
                    loaded.verdicts[case_id] = verdict
        return loaded

    def record(self, case_id: str, verdict: Verdict, elapsed_s: float) -> None:
        """Record a result. A case that does not pass sets the duration only if there is none yet.

        A failing case often ends early, so its duration does not predict the next one.
        """
        if verdict is Verdict.PASS or case_id not in self.seconds:
            self.seconds[case_id] = round(elapsed_s, 4)
        self.verdicts[case_id] = verdict.value
        self._recorded.add(case_id)

    def save(self) -> None:
        """Merge the recorded results into the file; other runs may have written it meanwhile."""
        if not self._recorded:
            return
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.parent / ".lock"):
                content = _read_json(self.path)
                for case_id in self._recorded:
                    content[case_id] = {
                        "elapsed_s": self.seconds[case_id],
                        "verdict": self.verdicts[case_id],
                    }
                text = json.dumps(content, indent=0, sort_keys=True)
                write_atomically(self.path, text + "\n")


def append_history(cache_dir: Path, line: Mapping[str, object]) -> None:
    """Append one run to history.jsonl; above 2000 lines keep only the newest 1000."""
    path = cache_dir / "history.jsonl"
    with contextlib.suppress(OSError):
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _locked(cache_dir / ".history.lock"):
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            if len(lines) > 2 * _HISTORY_LINES:
                write_atomically(path, "\n".join(lines[-_HISTORY_LINES:]) + "\n")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file at `path`; wait for it.

    :raise OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class LastRun:
    """The plan of the last run, and the units that it finished."""

    target: str
    formats: tuple[str, ...]
    seed: int
    planned: tuple[tuple[str, str], ...]
    """(case_id, image_format), in order."""
    done: frozenset[tuple[str, str]]
    bad: frozenset[tuple[str, str]] = frozenset()
    """Those of ``done`` that failed or were broken."""

    @property
    def left(self) -> list[tuple[str, str]]:
        """The planned units that did not finish."""
        return [unit for unit in self.planned if unit not in self.done]


class RunRecord:
    """Writes last-run.jsonl during the run, so that a killed run can be resumed.

    Each run writes a new file and moves it to that name, so that runs at the same time do not mix:
    the run that started last is the one to resume.
    """

    def __init__(self, cache_dir: Path, header: Mapping[str, object]) -> None:
        self._file: int | None = None
        temporary = cache_dir / f".last-run.{os.getpid()}"
        with contextlib.suppress(OSError):
            cache_dir.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(temporary, flags, 0o644)
            self._write(header)
            temporary.replace(cache_dir / "last-run.jsonl")

    def done(self, case_id: str, image_format: str, is_bad: bool = False) -> None:
        """Record that a case has ended."""
        self._write({"done": [case_id, image_format], "bad": is_bad})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, line: Mapping[str, object]) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.write(self._file, json.dumps(line).encode() + b"\n")


def last_run(cache_dir: Path) -> LastRun | None:
    """Return the record of the last run; None if there is no readable one."""
    try:
        lines = (cache_dir / "last-run.jsonl").read_text(encoding="utf-8").splitlines()
        header = json.loads(lines[0])
        ended = [json.loads(line) for line in lines[1:] if line.endswith("}")]
        done = [(str(one["done"][0]), str(one["done"][1])) for one in ended]
        bad = [unit for unit, one in zip(done, ended, strict=True) if one.get("bad")]
        return LastRun(
            str(header["target"]),
            tuple(map(str, header["formats"])),
            int(header["seed"]),
            tuple((str(one), str(two)) for one, two in header["planned"]),
            frozenset(done),
            frozenset(bad),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
