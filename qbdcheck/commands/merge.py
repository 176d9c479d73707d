"""`./check merge RUN...`: one report of the runs of parallel jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from qbdcheck.argument_types import path_of
from qbdcheck.commands.saved_arguments import parser_of, results_root
from qbdcheck.report.at_end import AtEnd
from qbdcheck.report.html import Html
from qbdcheck.report.json_report import JsonReport
from qbdcheck.report.junit import JUnit
from qbdcheck.report.summary import summary_lines
from qbdcheck.report.tally import Tally
from qbdcheck.saved.merging import merge
from qbdcheck.saved.runs import NAMES, load

_KINDS: dict[str, type[AtEnd]] = {"html": Html, "junit": JUnit, "json": JsonReport}


def main(arguments: Sequence[str], default_root: Path) -> int:
    """Write the reports, print the summary, and return 1 if a case failed or a part is missing.

    :raise UsageError: an argument is wrong, or the runs are not parts of one.
    """
    parser = parser_of(
        "merge",
        f"make one report of many; a RUN is\n{NAMES}",
        "part1.json part2.json --html all.html",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+")
    for kind in _KINDS:
        parser.add_argument(f"--{kind}", type=path_of, metavar="FILE", help=f"write {kind}")
    given = parser.parse_args(arguments)
    root = results_root(given, default_root)
    made = merge([load(name, root) for name in given.runs])
    for kind, report_class in _KINDS.items():
        if (path := getattr(given, kind)) is not None:
            _write(report_class(path), made.tally)
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)
    width = max(console.width, 60) if sys.stdout.isatty() else None
    for line in summary_lines(made.tally, width=width):
        console.print(line)
    for remark in made.remarks:
        print(f"note: {remark}")
    assert made.tally.end is not None
    return made.tally.end.exit_code


def _write(report: AtEnd, tally: Tally) -> None:
    for event in (tally.run, *tally.cases, *tally.retries, *tally.experiments, tally.end):
        if event is not None:
            report.handle(event)
    report.close()
