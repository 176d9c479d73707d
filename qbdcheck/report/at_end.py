"""What the reports share that are written when a run ends, also when it is interrupted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from qbdcheck.report.events import Event
from qbdcheck.report.output import open_report
from qbdcheck.report.tally import Tally


class AtEnd(ABC):
    """Remembers a run, and writes it to `path` at its end.

    :raise SetupError: `path` cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_report(path)
        self._tally = Tally()

    @abstractmethod
    def text(self, tally: Tally) -> str:
        """Return the report."""

    def handle(self, event: Event) -> None:
        """Remember `event`."""
        self._tally.handle(event)

    def tick(self) -> None:  # noqa: B027  # nothing is what most need
        """Nothing: the report is written at the end."""

    def close(self) -> None:
        """Write the report and close the file."""
        if not self._file.closed:
            self._file.write(self.text(self._tally))
            self._file.close()
