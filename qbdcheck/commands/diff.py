"""`./check diff RUN RUN`: what fails now, what no longer does, what is slower."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from qbdcheck.commands.saved_arguments import parser_of, results_root
from qbdcheck.exit_code import ExitCode
from qbdcheck.saved.compare import Change, Comparison, compare
from qbdcheck.saved.runs import NAMES, SavedRun, load

_LISTED = 100
"""Cases that the text names in each list; --json names all."""


def main(arguments: Sequence[str], default_root: Path) -> int:
    """Print the comparison; return 1 if it has new failures, else 0.

    :raise UsageError: an argument is wrong, or a run cannot be read.
    """
    parser = parser_of("diff", f"compare two runs; a RUN is\n{NAMES}", "latest~1 latest")
    parser.add_argument("before", metavar="RUN", help="the earlier run")
    parser.add_argument("after", metavar="RUN", nargs="?", default="latest",
                        help="the later run; default: latest")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    root = results_root(given, default_root)
    made = compare(load(given.before, root), load(given.after, root))
    print(json.dumps(_object(made), indent=1, ensure_ascii=False) if given.json else _text(made))
    return ExitCode.RED if made.new_failures else ExitCode.GREEN


def _object(made: Comparison) -> dict[str, object]:
    def plain(change: Change) -> dict[str, str]:
        return {
            "case_id": change.case_id,
            "image_format": change.image_format,
            "said": change.said,
        }

    lists = {
        name.replace(" ", "_"): [plain(one) for one in changes]
        for name, changes in made.lists.items()
    }
    return {"before": made.before.run_id, "after": made.after.run_id, **lists}


def _text(made: Comparison) -> str:
    lines = [f"before  {_title(made.before)}", f"after   {_title(made.after)}"]
    several = len({case.image_format for case in made.after.tally.cases}) > 1
    for name, changes in made.lists.items():
        if changes:
            lines += ["", f"{name}: {len(changes)}"]
            lines += [f"  {_line(change, several)}" for change in changes[:_LISTED]]
            if len(changes) > _LISTED:
                lines.append(f"  and {len(changes) - _LISTED} more (--json has all)")
    if not any(made.lists.values()):
        lines += ["", "no difference"]
    return "\n".join(lines)


def _title(saved: SavedRun) -> str:
    run, counts = saved.tally.run, saved.tally.counts
    words = [f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number]
    if run is None:
        return f"{saved.name}: {', '.join(words)}"
    version = run.environment.get("qbdcheck", "")
    facts = [run.target, " ".join(run.formats), f"seed {run.seed}", *filter(None, [version])]
    return f"{run.run_id}: {', '.join(words) or 'no case'} ({', '.join(facts)})"


def _line(change: Change, several_formats: bool) -> str:
    name = f"{change.case_id}-{change.image_format}" if several_formats else change.case_id
    return f"{name}: {change.said}"
