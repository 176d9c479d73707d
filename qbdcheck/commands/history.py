"""`./check history [CASE]`: verdicts and times over the saved runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from qbdcheck.commands.saved_arguments import parser_of, results_root
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.saved.runs import SavedRun, load_all
from qbdcheck.saved.trend import BARS, LETTERS, Trend, sparkline, trends
from qbdcheck.verdict import Verdict

_RUNS = 20
_IN_ASCII = str.maketrans(BARS, "_.-:=+*#")


def main(arguments: Sequence[str], default_root: Path) -> int:
    """Print a table of the runs, or of one case in them; return 0.

    :raise UsageError: an argument is wrong, there is no run, or none has the case.
    """
    parser = parser_of(
        "history", "verdicts and times over the saved runs, the newest last", "017 -n 5"
    )
    parser.add_argument("case", metavar="CASE", nargs="?", help="number or id of a case")
    parser.add_argument("-t", "--target", metavar="NAME", help="only runs of this target")
    parser.add_argument("-n", dest="runs", type=int, default=_RUNS, metavar="N",
                        help=f"the newest N runs; default {_RUNS}")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    if given.runs < 1:
        raise UsageError(f"-n {given.runs}: must be at least 1")
    root = results_root(given, default_root)
    runs = [
        run
        for run in load_all(root, most=10_000 if given.target else given.runs)
        if not given.target or (run.tally.run and run.tally.run.target == given.target)
    ][-given.runs :]
    if not runs:
        of = f" of the target {given.target}" if given.target else ""
        raise UsageError(f"there is no run{of} in {root}")
    found = trends(runs)
    if given.case:
        found = _of_case(found, given.case)
    if given.json:
        print(json.dumps(_object(runs, found), indent=1, ensure_ascii=False))
    else:
        lines = [line for one in found for line in _case(one)] if given.case else _all(runs, found)
        print("\n".join(lines))
    return ExitCode.GREEN


def _of_case(found: Sequence[Trend], name: str) -> list[Trend]:
    def is_named(case_id: str) -> bool:
        number, _, rest = case_id.partition("_")
        return name in (case_id, rest) or (name.isdigit() and int(number) == int(name))

    chosen = [one for one in found if is_named(one.case_id)]
    if not chosen:
        raise UsageError(f"no case {name} in the saved runs")
    return chosen


def _all(runs: Sequence[SavedRun], found: Sequence[Trend]) -> list[str]:
    """Return a line for each run, and for each case that failed in one of them."""
    lines = [f"{'run':29} {'target':16} {'pass':>5} {'fail':>5} {'other':>5} {'time':>8}"]
    for run in runs:
        counts, started, end = run.tally.counts, run.tally.run, run.tally.end
        bad = counts["fail"] + counts["broken"]
        other = counts["known"] + counts["not_run"]
        time = f"{end.elapsed_s:.1f} s" if end else "killed"
        target = (started.target if started else "")[:16]
        early = " (ended early)" if end and (end.interrupted or end.stopped) else ""
        lines.append(
            f"{run.run_id:29} {target:16} {counts['pass']:5} {bad:5} {other:5} {time:>8}{early}"
        )
    times_s = [run.tally.end.elapsed_s if run.tally.end else None for run in runs]
    lines += ["", f"time    {_bars(times_s)}"]
    failed = [one for one in found if one.has_failed]
    if failed:
        legend = ", ".join(f"{letter} {verdict.value}" for verdict, letter in LETTERS.items())
        lines += ["", f"cases that failed ({legend}):"]
        formats = len({one.image_format for one in found}) > 1
        names = {id(one): f"{one.case_id} {one.image_format}" if formats else one.case_id
                 for one in failed}  # fmt: skip
        width = max(map(len, names.values()))
        lines += [f"  {names[id(one)]:{width}}  |{one.letters}|" for one in failed]
    return lines


def _case(one: Trend) -> list[str]:
    """Return the table of a case: a line for each run that selected it."""
    lines = [f"{one.case_id} {one.image_format}", f"verdict |{one.letters}|",
             f"time    |{_bars(one.times_s)}|"]  # fmt: skip
    for run, unit in one.results:
        if unit is not None:
            why = "" if unit.verdict is Verdict.PASS else unit.why
            rate = f" ({unit.rate})" if unit.is_flaky else ""
            verdict = f"{unit.verdict.value:7} {unit.elapsed_s:6.1f}s"
            lines.append(f"  {run.run_id:29}  {verdict}  {why}{rate}".rstrip())
    return [*lines, ""]


def _bars(values: Iterable[float | None]) -> str:
    """Return a sparkline, in ASCII where the output cannot have other characters."""
    line = sparkline(values)
    try:
        line.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return line.translate(_IN_ASCII)
    return line


def _object(runs: Sequence[SavedRun], found: Sequence[Trend]) -> dict[str, object]:
    return {
        "runs": [
            {
                "run_id": run.run_id,
                "target": run.tally.run.target if run.tally.run else "",
                "started_s": run.tally.run.started_s if run.tally.run else None,
                "elapsed_s": run.tally.end.elapsed_s if run.tally.end else None,
                "counts": run.tally.counts,
            }
            for run in runs
        ],
        "cases": [
            {
                "case_id": one.case_id,
                "image_format": one.image_format,
                "verdicts": [unit and unit.verdict.name.lower() for _, unit in one.results],
                "elapsed_s": [None if time is None else round(time, 3) for time in one.times_s],
                "why": [unit.why if unit else "" for _, unit in one.results],
            }
            for one in found
        ],
    }
