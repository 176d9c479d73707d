"""Find and read a saved run, by any of its names."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qbdcheck.catalogue.results_root import EVENTS, REPORT, saved_runs
from qbdcheck.errors import UsageError
from qbdcheck.files import why_unreadable
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.decode import tally_of_text
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

NAMES = "an id, latest, latest~N, or a file (report, events or bundle)"
_LATEST = re.compile(r"latest(?:~(\d+))?")
_MOST_BYTES = 1 << 30
"""A report in a bundle that is larger is refused: it could fill the memory."""
_ORDER = list(Verdict)


@dataclass(frozen=True)
class SavedRun:
    """A run with the name under which it was found."""

    name: str
    tally: Tally

    @property
    def run_id(self) -> str:
        """The id of the run; its name if it ended before it had one."""
        return self.tally.run.run_id if self.tally.run else self.name

    @property
    def units(self) -> dict[tuple[str, str], Unit]:
        """The cases by id and image format, repetitions together."""
        repeated: dict[tuple[str, str], list[CaseEnded]] = {}
        for case in self.tally.cases:
            repeated.setdefault((case.case_id, case.image_format), []).append(case)
        return {key: Unit(tuple(cases)) for key, cases in repeated.items()}


@dataclass(frozen=True)
class Unit:
    """A case under one image format, with all its repetitions in a run (at least one)."""

    cases: tuple[CaseEnded, ...]

    @property
    def worst(self) -> CaseEnded:
        """The repetition with the worst verdict."""
        return min(self.cases, key=lambda case: _ORDER.index(case.verdict))

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return self.worst.verdict

    @property
    def is_flaky(self) -> bool:
        """Whether some repetitions passed and others were bad."""
        verdicts = {case.verdict for case in self.cases}
        return Verdict.PASS in verdicts and any(verdict.is_bad for verdict in verdicts)

    @property
    def rate(self) -> str:
        """``failed 3 of 20``; empty for a case that ran once."""
        bad = sum(case.verdict.is_bad for case in self.cases)
        return f"failed {bad} of {len(self.cases)}" if len(self.cases) > 1 else ""

    @property
    def elapsed_s(self) -> float:
        """The mean duration in seconds."""
        return sum(case.elapsed_s for case in self.cases) / len(self.cases)

    @property
    def why(self) -> str:
        """The cause, or the reasons for "not run"; empty if the case passed."""
        case = self.worst
        return "; ".join(case.reasons) if case.reasons else cause_of_case(case)


def load(name: str, root: Path) -> SavedRun:
    """Return the run that a user names: see `NAMES`. A unique beginning of an id is enough.

    :param root: the directory of results.
    :raise UsageError: there is no such run, or its report cannot be read.
    """
    path = _find(name, root)
    return SavedRun(name if name.startswith("latest") else path.name, read_run(path))


def load_all(root: Path, most: int) -> Iterable[SavedRun]:
    """Yield the newest `most` runs, the oldest first; unreadable ones are left out."""
    for path in saved_runs(root)[-most:]:
        try:
            yield SavedRun(path.name, read_run(path))
        except UsageError:
            continue


def _find(name: str, root: Path) -> Path:
    runs = saved_runs(root)
    if found := _LATEST.fullmatch(name):
        back = int(found[1] or 0)
        if back >= len(runs):
            raise UsageError(f"{name}: {root} has {len(runs)} runs; ./check history lists them")
        return runs[-1 - back]
    if "/" in name or Path(name).exists():
        return Path(name)
    starting = [run for run in runs if run.name.startswith(name)]
    if len(starting) == 1:
        return starting[0]
    if starting:
        raise UsageError(f"{name}: {len(starting)} runs begin with this; write more of the id")
    raise UsageError(f"{name}: no run with this id in {root}, and no such file; a run is {NAMES}")


def read_run(path: Path) -> Tally:
    """Return the run in a file, a bundle, or the directory of a run.

    :raise UsageError: it cannot be read.
    """
    try:
        if path.is_dir():
            kept = path / REPORT if (path / REPORT).exists() else path / EVENTS
            return read_run(kept)
        text = _of_bundle(path) if zipfile.is_zipfile(path) else path.read_text(encoding="utf-8")
        return tally_of_text(text)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{path}: {why_unreadable(error)}") from None
    except (ValueError, zipfile.BadZipFile, RuntimeError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None


def is_run(path: Path) -> bool:
    """Return whether a file begins as a report or a bundle does, rather than as an image."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head.startswith(b"PK\x03\x04") or head.lstrip().startswith(b'{\n "schema"')


def _of_bundle(path: Path) -> str:
    with zipfile.ZipFile(path) as bundle:
        reports = [one for one in bundle.infolist() if Path(one.filename).name == REPORT]
        if not reports:
            raise ValueError(f"is a zip file without {REPORT}")
        report = min(reports, key=lambda one: one.filename.count("/"))
        if report.file_size > _MOST_BYTES:
            raise ValueError(f"{REPORT} in it has {report.file_size} bytes, which is too much")
        return bundle.read(report).decode("utf-8")
