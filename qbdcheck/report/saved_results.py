"""The report and the events that each run leaves in its results directory, for later commands."""

from __future__ import annotations

import contextlib
from pathlib import Path

from qbdcheck.catalogue.results_root import EVENTS, REPORT
from qbdcheck.errors import SetupError
from qbdcheck.files import write_atomically
from qbdcheck.report.events import Event
from qbdcheck.report.json_lines import JsonLines
from qbdcheck.report.json_report import report_text
from qbdcheck.report.tally import Tally


class SavedResults:
    """Writes ``events.jsonl`` as it happens, and ``report.json`` when the run ends.

    :param must: the directory must be writable. If it need not be, results are missing where it is
        not: a full or read-only home directory does not stop a run.
    :raise SetupError: the directory must be writable, and is not.
    """

    def __init__(self, directory: Path, must: bool) -> None:
        self._directory = directory
        self._tally = Tally()
        self._events: JsonLines | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._events = JsonLines(directory / EVENTS)
        except (OSError, SetupError) as error:
            if must:
                why = error.strerror if isinstance(error, OSError) else str(error)
                raise SetupError(
                    f"--results {directory.parent}: {why}; name a directory that you may write to"
                ) from None

    def handle(self, event: Event) -> None:
        """Record one event."""
        self._tally.handle(event)
        if self._events is not None:
            with contextlib.suppress(OSError, SetupError):
                self._events.handle(event)

    def tick(self) -> None:
        """Do nothing: events are written when they happen."""

    def close(self) -> None:
        """Write the report. A second call does nothing."""
        if self._events is not None:
            with contextlib.suppress(OSError, SetupError):
                write_atomically(self._directory / REPORT, report_text(self._tally))
            with contextlib.suppress(OSError, SetupError):
                self._events.close()
            self._events = None
