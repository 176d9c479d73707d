"""JSON-lines report: one event per line, live, for ``tail -f`` and dashboards.

Each line is flushed when it is written. So a run that is killed leaves every event up to then, and
only whole lines.
"""

from __future__ import annotations

import json
from pathlib import Path

from qbdcheck.report.encode import SCHEMA_VERSION, event_object
from qbdcheck.report.events import Event, RunStarted
from qbdcheck.report.output import open_report, writing
from qbdcheck.report.redact import Redaction, redaction_for


class JsonLines:
    """Writes each event to `path` when it happens.

    :raise SetupError: `path` cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_report(path)
        self._redaction = Redaction()

    def handle(self, event: Event) -> None:
        """Append `event` as one line, in one write.

        :raise SetupError: it cannot be written.
        """
        extra: dict[str, object] = {}
        if isinstance(event, RunStarted):
            self._redaction = redaction_for(event.environment)
            extra = {"schema": SCHEMA_VERSION}
        line = json.dumps({**event_object(event, self._redaction), **extra}, ensure_ascii=False)
        with writing(self._file):
            self._file.write(line + "\n")
            self._file.flush()

    def tick(self) -> None:
        """Do nothing: events are written when they happen."""

    def close(self) -> None:
        """Close the file.

        :raise SetupError: what remained cannot be written.
        """
        with writing(self._file):
            self._file.close()
