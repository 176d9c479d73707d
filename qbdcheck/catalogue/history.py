"""What is remembered between runs: durations and last verdicts, per target and image format.

Files are in ``$XDG_CACHE_HOME/qbdcheck`` (``~/.cache/qbdcheck``): ``elapsed/TARGET-FORMAT.json``,
``history.jsonl`` (one line a run) and ``last-run.jsonl`` (for ``--resume``). None of them matters
for a verdict: a damaged file counts as an empty one, an unwritable directory is no error.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qbdcheck.files import write_atomically
from qbdcheck.verdict import Verdict

_HISTORY_LINES = 1000
_RESULTS_KEPT = 20
_RUN_ID = re.compile(r"\d{8}-\d{6}-")


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """``$XDG_CACHE_HOME/qbdcheck``, or below ``~/.cache`` where that is not an absolute path."""
    chosen = Path(environment.get("XDG_CACHE_HOME", ""))
    if chosen.is_absolute():
        return chosen / "qbdcheck"
    return Path(environment.get("HOME", "/")) / ".cache" / "qbdcheck"


@dataclass
class Elapsed:
    """Durations in seconds and last verdicts of the cases of one target and image format."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    _changed: bool = False

    @classmethod
    def load(cls, cache_dir: Path, target: str, image_format: str) -> Elapsed:
        """What earlier runs left; empty where there is nothing, or nothing that can be read."""
        name = re.sub(r"[^A-Za-z0-9._+-]", "_", f"{target}-{image_format}")
        return cls.read(cache_dir / "elapsed" / f"{name}.json")

    @classmethod
    def read(cls, path: Path) -> Elapsed:
        """What the file at `path` holds; a damaged entry counts as none."""
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
        """Remember a result; the duration only of a pass, as others say little of the next time."""
        if verdict is Verdict.PASS or case_id not in self.seconds:
            self.seconds[case_id] = round(elapsed_s, 4)
        self.verdicts[case_id] = verdict.value
        self._changed = True

    def save(self) -> None:
        """Merge into the file what was recorded; other runs may have written it meanwhile."""
        if not self._changed:
            return
        content = _read_json(self.path)
        for case_id, seconds in self.seconds.items():
            content[case_id] = {"elapsed_s": seconds, "verdict": self.verdicts.get(case_id, "")}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(content, indent=0, sort_keys=True) + "\n")


def append_history(cache_dir: Path, line: Mapping[str, object]) -> None:
    """Add one run to history.jsonl, and drop the oldest of more than a thousand."""
    path = cache_dir / "history.jsonl"
    with contextlib.suppress(OSError):
        cache_dir.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if len(lines) > 2 * _HISTORY_LINES:
            write_atomically(path, "\n".join(lines[-_HISTORY_LINES:]) + "\n")


def drop_old_results(results_root: Path) -> None:
    """Remove what the oldest of more than twenty runs have left: logs, stacks, .bad files.

    Names of runs begin with their local time, so they sort by age.
    """
    with contextlib.suppress(OSError):
        runs = sorted(path for path in results_root.iterdir() if _RUN_ID.match(path.name))
        for path in runs[:-_RESULTS_KEPT]:
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class LastRun:
    """The plan of the last run, and what of it was done before the run ended or died."""

    target: str
    formats: tuple[str, ...]
    seed: int
    planned: tuple[tuple[str, str], ...]
    """(case_id, image_format), in order."""
    done: frozenset[tuple[str, str]]

    @property
    def left(self) -> list[tuple[str, str]]:
        """What was planned and has not ended."""
        return [unit for unit in self.planned if unit not in self.done]


class RunRecord:
    """Writes last-run.jsonl while the run goes on, so that a killed run can be resumed."""

    def __init__(self, cache_dir: Path, header: Mapping[str, object]) -> None:
        self._file: int | None = None
        with contextlib.suppress(OSError):
            cache_dir.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(cache_dir / "last-run.jsonl", flags, 0o644)
            self._write(header)

    def done(self, case_id: str, image_format: str) -> None:
        """A case has ended."""
        self._write({"done": [case_id, image_format]})

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
    """The record of the last run; None where there is none that can be read."""
    try:
        lines = (cache_dir / "last-run.jsonl").read_text(encoding="utf-8").splitlines()
        header = json.loads(lines[0])
        done = [json.loads(line)["done"] for line in lines[1:] if line.endswith("}")]
        return LastRun(
            str(header["target"]),
            tuple(map(str, header["formats"])),
            int(header["seed"]),
            tuple((str(one), str(two)) for one, two in header["planned"]),
            frozenset((str(one), str(two)) for one, two in done),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
