"""TAP 14 on standard output, with a YAML block after each test point.

https://testanything.org/tap-version-14-specification.html. The plan comes last, so that a stream
that was cut off is seen to be so; an interrupted run ends with ``Bail out!`` instead of a plan.
"""

from __future__ import annotations

import re
from typing import TextIO

import yaml

from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.encode import damage_words, plain
from qbdcheck.report.events import (
    CaseEnded,
    CasePostponed,
    CaseRetried,
    CaseStarted,
    Event,
    GuestTestEnded,
    RunEnded,
    RunStarted,
)
from qbdcheck.report.lines import guest_test_line
from qbdcheck.report.redact import Redaction, redaction_for
from qbdcheck.verdict import Verdict

_KNOWN = "TO" + "DO"
"""The directive of TAP for failures that are known and do not make the run fail."""


class Tap:
    """Writes a test point for each ended case to `stream`, which it does not close."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._points = 0
        self._redaction = Redaction()

    def handle(self, event: Event) -> None:
        """Write what `event` adds to the stream, and flush it."""
        match event:
            case RunStarted():
                self._redaction = redaction_for(event.environment)
                lines = self._header(event)
            case CaseStarted() | CasePostponed():
                lines = []
            case GuestTestEnded():
                lines = [f"# {_escape(guest_test_line(event))}"]
            case CaseRetried():
                name = f"{event.case_id} {event.image_format}"
                lines = [f"# {name}: again, alone: failed {event.rate}"]
            case CaseEnded():
                self._points += 1
                lines = self._point(event)
            case RunEnded():
                lines = ["Bail out! interrupted" if event.interrupted else f"1..{self._points}"]
        self._stream.writelines(line + "\n" for line in lines)
        self._stream.flush()

    def tick(self) -> None:
        """Do nothing: TAP has no clock."""

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def _header(self, run: RunStarted) -> list[str]:
        facts = {
            "run": run.run_id,
            "target": run.target,
            "formats": " ".join(run.formats),
            "seed": str(run.seed),
            **run.environment,
        }
        lines = [f"# {name}: {self._redaction.text(value)}" for name, value in facts.items()]
        return ["TAP version 14", *[re.sub(r"[\r\n]+", " ", line) for line in lines]]

    def _point(self, case: CaseEnded) -> list[str]:
        result = "ok" if case.verdict in (Verdict.PASS, Verdict.NOT_RUN) else "not ok"
        name = _escape(f"{case.case_id} {case.image_format}")
        line = f"{result} {self._points} - {name}"
        if case.verdict is Verdict.NOT_RUN:
            return [f"{line} # SKIP {_escape(self._redaction.text('; '.join(case.reasons)))}"]
        if case.verdict is Verdict.KNOWN:
            line += f" # {_KNOWN} {_escape(self._redaction.text('; '.join(case.reasons)))}"
        return [line, *self._diagnostics(case)]

    def _diagnostics(self, case: CaseEnded) -> list[str]:
        facts: dict[str, object] = {"duration_ms": round(case.elapsed_s * 1000, 1)}
        if case.partly_not_run:
            facts["partly_not_run"] = case.partly_not_run
        if case.waived:
            facts["waived"] = case.waived
        if case.first_try is not None:
            facts["first_try"] = case.first_try.message
        if case.tests:
            facts["tests"] = {one.name: one.outcome for one in case.tests}
        if case.verdict.is_bad:
            facts |= {
                "severity": case.verdict.value,
                "message": cause_of_case(case),
                "sentence": case.sentence,
                "basis": case.basis,
                "seed": case.seed,
                "again": case.rerun,
                "files": case.artefacts,
                "damage": damage_words(case),
                "details": case.details,
            }
        text = yaml.safe_dump(
            plain(facts, self._redaction), sort_keys=False, allow_unicode=True, width=10_000
        )
        return ["  ---", *[f"  {line}".rstrip() for line in text.splitlines()], "  ..."]


def _escape(text: str) -> str:
    """Return `text` with backslashes, hashes and line ends escaped: they could be directives."""
    return re.sub(r"[\r\n]+", " ", text.replace("\\", "\\\\").replace("#", "\\#"))
