"""JSON report: the whole run in one object, written when it ends (also when it is interrupted)."""

from __future__ import annotations

import json
from pathlib import Path

from qbdcheck.report.encode import SCHEMA_VERSION, event_object
from qbdcheck.report.events import Event, RunEnded, RunStarted
from qbdcheck.report.output import open_report
from qbdcheck.report.redact import redaction_for
from qbdcheck.report.tally import Tally


class JsonReport:
    """Writes the run to `path`: ``schema``, ``run``, ``counts``, ``cases``, ``end``.

    :raise SetupError: `path` cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_report(path)
        self._tally = Tally()

    def handle(self, event: Event) -> None:
        """Remember `event`."""
        self._tally.handle(event)

    def tick(self) -> None:
        """Nothing: the report is written at the end."""

    def close(self) -> None:
        """Write the object and close the file."""
        if self._file.closed:
            return
        json.dump(self._whole(), self._file, indent=1, ensure_ascii=False)
        self._file.write("\n")
        self._file.close()

    def _whole(self) -> dict[str, object]:
        tally = self._tally
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
            "end": plain(end),
        }
