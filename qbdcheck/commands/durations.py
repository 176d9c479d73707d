"""`./check durations RUN...`: write the durations by which ``--shard`` splits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from qbdcheck.argument_types import path_of
from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.catalogue.history import Elapsed
from qbdcheck.commands.saved_arguments import parser_of, results_root
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import write_atomically
from qbdcheck.saved.runs import NAMES, SavedRun, load
from qbdcheck.verdict import Verdict


def main(arguments: Sequence[str], default_root: Path, suites_dir: Path) -> int:
    """Write the file and return 0.

    :raise UsageError: an argument is wrong, a run cannot be read, or the file cannot be written.
    """
    parser = parser_of(
        "durations", f"write durations for --shard; a RUN is\n{NAMES}", "latest -o durations.json"
    )
    parser.add_argument("runs", metavar="RUN", nargs="+")
    parser.add_argument("-o", dest="output", type=path_of, metavar="FILE",
                        default=suites_dir / "durations.json",
                        help="the file; default: suites/durations.json")  # fmt: skip
    given = parser.parse_args(arguments)
    root = results_root(given, default_root)
    path: Path = given.output
    exist = {case.case_id for case in list_cases(suites_dir)}
    measured = durations(load(name, root) for name in given.runs)
    merged = {**Elapsed.read(path).seconds, **measured}
    try:
        write_atomically(path, text({name: merged[name] for name in merged if name in exist}))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    print(f"{path}: {len(measured.keys() & exist)} measured, {len(merged.keys() & exist)} in all")
    return ExitCode.GREEN


def durations(runs: Iterable[SavedRun]) -> dict[str, float]:
    """Return the longest duration of each case that passed, in seconds."""
    found: dict[str, float] = {}
    for run in runs:
        for case in run.tally.cases:
            if case.verdict is Verdict.PASS:
                found[case.case_id] = max(case.elapsed_s, found.get(case.case_id, 0.0))
    return found


def text(seconds: Mapping[str, float]) -> str:
    """Return the file: in the form of the cache, to two digits, so that versions differ little."""
    content = {name: {"elapsed_s": float(f"{seconds[name]:.2g}")} for name in sorted(seconds)}
    lines = [f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
