"""HTML report: one page without scripts or further files, written when the run ends."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from qbdcheck.report.at_end import AtEnd
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.lines import sentence_of, test_lines
from qbdcheck.report.redact import Redaction, redaction_for
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

_TEXT_BYTES = 256 << 10
"""Maximum size of the part that is shown of each timeline: its end."""
_PICTURE_BYTES = 2 << 20
"""Larger pictures are named, not shown."""
_TONES = {
    "pass": "pass",
    "fail": "fail",
    "timed out": "fail",
    "broken": "broken",
    "warn": "broken",
    "conf": "not_run",
}
"""The CSS class for each outcome of a test in a guest."""
TIMELINE = ".timeline.txt"
"""Suffix of the files with the timeline of a guest."""


@dataclass(frozen=True)
class _Attached:
    """A file of a case that the page shows: a text, or a picture as a data: URI."""

    name: str
    text: str = ""
    picture: str = ""


class Html(AtEnd):
    """The HTML report: facts, counts, failures with their details, and all cases.

    The page contains the timelines of guests and the SVG pictures of cases.
    """

    def text(self, tally: Tally) -> str:
        """Return the page."""
        return page(tally)


def page(tally: Tally) -> str:
    """Return the page of a run, which may not have ended."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    redaction = redaction_for(tally.run.environment if tally.run else {})
    environment.filters["redacted"] = redaction.text
    run = tally.run
    started = datetime.fromtimestamp(run.started_s, UTC) if run else None
    return environment.get_template("run.html.j2").render(
        run=run,
        started=f"{started:%Y-%m-%d %H:%M:%S} UTC" if started else "",
        end=tally.end,
        counts=tally.counts,
        verdicts=[(verdict.name.lower(), verdict.value) for verdict in Verdict],
        cases=[_case(case, redaction) for case in tally.cases],
        tones=_TONES,
        running=list(tally.running.values()),
        slowest=max((case.elapsed_s for case in tally.cases), default=0.0) or 1.0,
    )


def _case(case: CaseEnded, redaction: Redaction) -> dict[str, Any]:
    """Return what the template shows of a case."""
    bad = case.verdict.is_bad
    texts = {
        Verdict.PASS: sentence_of(case.sentence),
        Verdict.NOT_RUN: "; ".join(case.reasons),
    }
    return {
        "ended": case,
        "verdict": case.verdict.name.lower(),
        "word": case.verdict.value,
        "text": texts.get(case.verdict) or cause_of_case(case),
        "sentence": sentence_of(case.sentence),
        "details": (case.details or case.message) if bad else "",
        "tests": " ".join(test_lines(case)),
        "attached": list(_attached(case, redaction)),
        "suite": Path(case.path).parent.name,
    }


def _attached(case: CaseEnded, redaction: Redaction) -> Iterator[_Attached]:
    for artefact in case.artefacts:
        found = Path(artefact)
        for path in sorted(found.rglob("*.svg")) if found.is_dir() else [found]:
            try:
                if path.name.endswith(TIMELINE):
                    data = path.read_bytes()[-_TEXT_BYTES:].decode(errors="replace")
                    yield _Attached(path.name, text=redaction.text(data))
                elif path.suffix == ".svg" and path.stat().st_size <= _PICTURE_BYTES:
                    data = base64.b64encode(path.read_bytes()).decode("ascii")
                    yield _Attached(path.name, picture=f"data:image/svg+xml;base64,{data}")
            except OSError:
                continue  # the page still has the name of the file
