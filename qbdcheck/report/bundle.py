"""A bundle: one zip file with all that a colleague needs to look into a run.

    report.html             the page
    report.json             the run as by --json
    events.jsonl            its events as by --events
    cases/CASE.FORMAT/      of each failure: details.txt, golden.diff, script.yaml, script.sh,
                            and the files that were kept: logs, stacks, pictures, repro/

The file appears as a whole, or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from qbdcheck.errors import SetupError
from qbdcheck.report import html, json_report
from qbdcheck.report.encode import SCHEMA_VERSION, event_object
from qbdcheck.report.events import CaseEnded, CaseExperiment, Event
from qbdcheck.report.page_causes import main_finding
from qbdcheck.report.page_details import split_details
from qbdcheck.report.page_script import script_of
from qbdcheck.report.redact import Redaction, redaction_for
from qbdcheck.report.tally import Tally

_SCRIPTS = "repro"
_TEXTS = frozenset((".log", ".out", ".err", ".bad", ".txt", ".stderr", ".stdout", ".yaml", ".sh",
                    ".py", ".json", ".jsonl", ".svg"))  # fmt: skip
"""Files whose home and scratch directories are redacted."""


class Bundle:
    """Collects the events of a run, and writes the zip file at its end.

    :param path: of the file; an older one is removed at once.
    :raise SetupError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tally = Tally()
        self._events: list[Event] = []
        self._closed = False
        try:
            if path.exists() and not path.is_file():
                raise SetupError(f"cannot write the bundle {path}: it exists and is not a file")
            path.unlink(missing_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise SetupError(
                f"cannot write the bundle {path}: {error.strerror}; give the path of a file in a"
                " directory that exists and that you may write to"
            ) from error

    def handle(self, event: Event) -> None:
        """Collect an event."""
        self._tally.handle(event)
        self._events.append(event)

    def tick(self) -> None:
        """Do nothing: the bundle is written at the end."""

    def close(self) -> None:
        """Write the file."""
        if self._closed:
            return
        self._closed = True
        write(self._path, self._tally, self._events)


def write(path: Path, tally: Tally, events: list[Event]) -> None:
    """Write the bundle of a run.

    :raise SetupError: the file cannot be written.
    """
    redaction = redaction_for(tally.run.environment if tally.run else {})
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in _files(tally, events, redaction):
                made.writestr(name, data)
        partial.replace(path)
    except OSError as error:
        raise SetupError(f"cannot write the bundle {path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _files(
    tally: Tally, events: list[Event], redaction: Redaction
) -> Iterator[tuple[str, str | bytes]]:
    """Yield (name in the zip file, contents)."""
    links: dict[str, str] = {}
    for case in tally.cases:
        place = f"cases/{case.case_id}.{case.image_format}"
        yield from (
            (f"{place}/{name}", data)
            for name, data in _made(case, tally.experiment_of(case), redaction)
        )
        for name, data, artefact in _kept(case, redaction):
            links[artefact] = f"{place}/{name}"
            yield f"{place}/{name}", data
    yield "report.html", html.page(tally, html.command_line(), links=links)
    yield "report.json", json_report.report_text(tally)
    yield "events.jsonl", _lines(events, redaction)


def _made(
    case: CaseEnded, experiment: CaseExperiment | None, redaction: Redaction
) -> Iterator[tuple[str, str]]:
    """Yield files that are made of the record of a failed case."""
    if not case.verdict.is_bad:
        return
    text = f"{case.message}\n\n{case.details}\n\nagain: {case.rerun}\n"
    yield "details.txt", redaction.text(text)
    diff = split_details(case.details).diff
    if diff:
        yield "golden.diff", redaction.text("\n".join(line.text for line in diff) + "\n")
    script = script_of(case.artefacts, main_finding(case), experiment)
    if script is not None:
        yield "script.yaml", script.replay
        yield "script.sh", script.qemu_io


def _kept(case: CaseEnded, redaction: Redaction) -> Iterator[tuple[str, bytes, str]]:
    """Yield (name, contents, artefact) of the files that were kept."""
    for artefact in case.artefacts:
        root = Path(artefact)
        if root.is_dir() and root.name != _SCRIPTS:
            continue  # the scratch directory of --keep, with whole volumes
        inside = sorted(root.rglob("*")) if root.is_dir() else [root]
        for path in inside:
            if path.is_symlink() or not path.is_file():
                continue
            name = str(path.relative_to(root.parent))
            try:
                data = path.read_bytes()
            except OSError:
                continue  # the page names it
            if path.suffix in _TEXTS:
                data = redaction.text(data.decode(errors="replace")).encode()
            yield name, data, artefact


def _lines(events: list[Event], redaction: Redaction) -> str:
    lines = StringIO()
    for number, event in enumerate(events):
        made = event_object(event, redaction)
        if not number:
            made = {"schema": SCHEMA_VERSION, **made}
        lines.write(json.dumps(made, ensure_ascii=False) + "\n")
    return lines.getvalue()
