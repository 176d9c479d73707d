"""JSON report: the whole run in one object, written when it ends (also when it is interrupted)."""

from __future__ import annotations

import json

from qbdcheck.report.at_end import AtEnd
from qbdcheck.report.encode import SCHEMA_VERSION, event_object
from qbdcheck.report.events import Event, RunEnded, RunStarted
from qbdcheck.report.redact import redaction_for
from qbdcheck.report.tally import Tally


class JsonReport(AtEnd):
    """One object with ``schema``, ``run``, ``counts``, ``cases``, ``retries`` and ``end``.

    It has ``experiments``, too.
    """

    def text(self, tally: Tally) -> str:
        """Return the object."""
        return report_text(tally)


def report_text(tally: Tally) -> str:
    """Return the report of a run, ended or not."""
    return json.dumps(_whole(tally), indent=1, ensure_ascii=False) + "\n"


def _whole(tally: Tally) -> dict[str, object]:
    redaction = redaction_for(tally.run.environment if tally.run else {})

    def plain(event: Event | None) -> dict[str, object] | None:
        if event is None:
            return None
        made = event_object(event, redaction)
        del made["event"]
        return made

    run: RunStarted | None = tally.run
    end: RunEnded | None = tally.end
    return {
        "schema": SCHEMA_VERSION,
        "run": plain(run),
        "counts": tally.counts,
        "cases": [plain(case) for case in tally.cases],
        "retries": [plain(retried) for retried in tally.retries],
        "experiments": [plain(one) for one in tally.experiments],
        "end": plain(end),
    }
