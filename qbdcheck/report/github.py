"""Reports for GitHub Actions: an annotation for each failure, and the summary of the step.

Annotations are workflow commands on standard output
(https://docs.github.com/actions/reference/workflow-commands-for-github-actions). GitHub shows the
first 10 errors of a step, so there are no more. The summary is Markdown, appended to the file that
``$GITHUB_STEP_SUMMARY`` names; GitHub takes up to 1 MiB. Without that variable there are only
annotations.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TextIO

from qbdcheck.errors import SetupError
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.events import CaseEnded, Event
from qbdcheck.report.redact import Redaction, redaction_for
from qbdcheck.report.summary import summary_lines
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

ANNOTATIONS = 10
"""GitHub shows so many errors of a step."""
_SUMMARY_BYTES = 900_000
_FAILURES = 200
"""Failures in the table of the summary."""


class GitHub:
    """Writes annotations to `output`, and the summary to `summary` if that is not None.

    :raise SetupError: `summary` cannot be written.
    """

    def __init__(self, output: TextIO, summary: Path | None) -> None:
        self._output = output
        self._summary = _open(summary)
        self._tally = Tally()
        self._is_closed = False

    def handle(self, event: Event) -> None:
        """Collect `event`."""
        self._tally.handle(event)

    def tick(self) -> None:
        """Do nothing: the report is written at the end."""

    def close(self) -> None:
        """Write the annotations and the summary."""
        if self._is_closed:
            return
        self._is_closed = True
        for case in _bad(self._tally)[:ANNOTATIONS]:
            self._output.write(annotation(case, _redaction(self._tally)))
        self._output.flush()
        if self._summary is not None:
            self._summary.write(summary(self._tally))
            self._summary.close()


def summary_file() -> Path | None:
    """Return the path in ``$GITHUB_STEP_SUMMARY``; None without it."""
    name = os.environ.get("GITHUB_STEP_SUMMARY", "")
    return Path(name) if name else None


def _open(path: Path | None) -> TextIO | None:
    try:
        return path.open("a", encoding="utf-8", errors="backslashreplace") if path else None
    except OSError as error:
        raise SetupError(f"cannot write $GITHUB_STEP_SUMMARY {path}: {error.strerror}") from error


def _bad(tally: Tally) -> list[CaseEnded]:
    return tally.with_verdict(Verdict.FAIL) + tally.with_verdict(Verdict.BROKEN)


def _redaction(tally: Tally) -> Redaction:
    return redaction_for(tally.run.environment if tally.run else {})


def annotation(case: CaseEnded, redaction: Redaction) -> str:
    """Return the workflow command for a failure, with its newline."""
    title = f"{case.case_id} ({case.image_format}): {case.verdict.value}"
    lines = [cause_of_case(case), case.sentence]
    lines += [f"again: {case.rerun}"] if case.rerun else []
    message = redaction.text("\n".join(filter(None, lines)))
    return f"::error title={_escaped_property(title)}::{_escaped(message)}\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def summary(tally: Tally) -> str:
    """Return the summary of a run in Markdown, at most 1 MiB."""
    redaction, run, bad = _redaction(tally), tally.run, _bad(tally)
    result = redaction.text(str(summary_lines(tally)[-1]))
    lines = [f"## qbdcheck: {_cell(result)}", ""]
    if run is not None:
        formats = ", ".join(run.formats)
        lines += [f"Target `{run.target}`, image format {formats}, seed `{run.seed}`.", ""]
    if bad:
        lines += ["| case | format | verdict | cause |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(case.case_id)} | {case.image_format} | {case.verdict.value}"
            f" | {_cell(redaction.text(cause_of_case(case)))} |"
            for case in bad[:_FAILURES]
        ]
        lines += [f"\n{len(bad) - _FAILURES} more failures."] * (len(bad) > _FAILURES)
        again = [redaction.text(case.rerun) for case in bad[:ANNOTATIONS] if case.rerun]
        lines += ["", "Run again:", "", "```", *again, "```"] if again else []
    not_run = tally.with_verdict(Verdict.NOT_RUN)
    if not_run:
        lines += ["", f"<details><summary>Not run: {len(not_run)}</summary>", ""]
        lines += ["| case | reason |", "|---|---|"]
        lines += [
            f"| {_cell(case.case_id)} | {_cell(redaction.text('; '.join(case.reasons)))} |"
            for case in not_run
        ]
        lines += ["", "</details>"]
    text = "\n".join(lines) + "\n"
    return text.encode()[:_SUMMARY_BYTES].decode(errors="ignore")


def _cell(text: str) -> str:
    """Return `text` for a table or a heading, without effect in Markdown and HTML."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", text)
