"""The base of reports that are written when a run ends, also when it is interrupted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from qbdcheck.report.events import Event
from qbdcheck.report.output import open_report, writing
from qbdcheck.report.tally import Tally


class AtEnd(ABC):
    """Collects the events of a run, and writes a report to `path` at the end.

    :raise SetupError: `path` cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_report(path)
        self._tally = Tally()

    @abstractmethod
    def text(self, tally: Tally) -> str:
        """Return the report."""

    def handle(self, event: Event) -> None:
        """Collect `event`."""
        self._tally.handle(event)

    def tick(self) -> None:  # noqa: B027  # nothing is what most need
        """Do nothing: the report is written at the end."""

    def close(self) -> None:
        """Write the report and close the file.

        :raise SetupError: it cannot be written.
        """
        if not self._file.closed:
            text = self.text(self._tally)
            with writing(self._file), self._file:
                self._file.write(text)
