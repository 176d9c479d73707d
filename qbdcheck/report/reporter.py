"""The interface of reports, and the choice of the reports of a run.

A report gets every event of a run in order, from one thread. It is closed at the end, also after
Ctrl-C. It never stops a run: `handle` does not raise for a well-formed event. A report file that
cannot be written is a SetupError at the start of the run, not at its end.
"""

from __future__ import annotations

import sys
from typing import Protocol, TextIO

from qbdcheck.options import Reports
from qbdcheck.report.events import Event


class Reporter(Protocol):
    """Subscriber to the events of a run."""

    def handle(self, event: Event) -> None:
        """Handle one event. Called in order: RunStarted, then cases, then RunEnded."""
        ...

    def tick(self) -> None:
        """Redraw. Called by the runner's loop a few times a second while it waits.

        Reports have no threads, because the runner forks a child for each case.
        """
        ...

    def close(self) -> None:
        """Write the rest and release files and the terminal. May be called twice."""
        ...


def reporters_for(options: Reports, output: TextIO | None = None) -> list[Reporter]:
    """Return the reports that `options` request: one on `output` (stdout) and one for each file.

    :raise SetupError: a report file cannot be written.
    """
    # Each is imported only where the run wants it: the page alone takes 0.1 s of CPU time.
    stream = output or sys.stdout
    reports: list[Reporter] = []
    if options.tap:
        from qbdcheck.report.tap import Tap

        reports.append(Tap(stream))
    else:
        from qbdcheck.report.terminal import Terminal

        reports.append(Terminal(stream, options.color, options.durations))
    if options.junit_file is not None:
        from qbdcheck.report.junit import JUnit

        reports.append(JUnit(options.junit_file))
    if options.json_file is not None:
        from qbdcheck.report.json_report import JsonReport

        reports.append(JsonReport(options.json_file))
    if options.html_file is not None:
        from qbdcheck.report.html import Html

        reports.append(Html(options.html_file))
    if options.bundle_file is not None:
        from qbdcheck.report.bundle import Bundle

        reports.append(Bundle(options.bundle_file))
    if options.events_file is not None:
        from qbdcheck.report.json_lines import JsonLines

        reports.append(JsonLines(options.events_file))
    if options.github:
        from qbdcheck.report.github import GitHub, summary_file

        reports.append(GitHub(stream, summary_file()))
    if options.results_dir is not None:
        from qbdcheck.report.saved_results import SavedResults

        reports.append(SavedResults(options.results_dir, must=options.results_chosen))
    return reports
