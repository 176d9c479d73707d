"""`./check certify -t TARGET`: run what the target can do, and sign a statement on the results.

./check certify -t mine.yaml                    all cases; certificate-mine-DATE.json, .html
./check certify -t mine.yaml --soak 24h 1-499   flags and selection of a run
./check certify --compare A.json B.json         two certificates as a table
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from qbdcheck import clock
from qbdcheck.catalogue.plan import make_plan
from qbdcheck.catalogue.results_root import REPORT
from qbdcheck.commands.verify_certificate import read
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import ROOT, write_atomically
from qbdcheck.options import Options, Selection
from qbdcheck.report.decode import tally_of_text
from qbdcheck.saved.certificate import (
    Facts,
    default_key_path,
    digest,
    headline,
    load_key,
    not_judged,
    public_key_of,
    signed,
    statement,
    verified,
)
from qbdcheck.saved.certificate_page import compared, page
from qbdcheck.targets.description import Description

_MATRIX = ROOT / "docs" / "bugs-and-mutants.md"
_FINDINGS = ROOT / "docs" / "findings.md"
_KILLED = re.compile(
    r"\*\*(\d+) of (\d+) seeded bugs are killed\*\*(?:.*?(\d+) of (\d+) controls are accused)?"
)
_FILE_WIDTH = 160


def check(options: Options) -> None:
    """Load or make the key before the run, which may take hours.

    :raise UsageError: the key, or the directory of the certificate, cannot be used.
    """
    key = options.certificate.key
    load_key(key or default_key_path(os.environ), may_make=key is None)
    if not os.access(Path.cwd(), os.W_OK):
        raise UsageError(f"the certificate is written to {Path.cwd()}, which is not writable")


def write(options: Options, description: Description, capabilities: Collection[str]) -> list[str]:
    """Write the certificate of the run that has ended; return the lines that say it.

    :raise UsageError: the results or the key cannot be read, or a file cannot be written.
    """
    report = options.execution.results_dir / REPORT
    try:
        tally = tally_of_text(report.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{report}: {error}; --results DIR names a writable directory") from None
    date = clock.date(clock.wall_s())
    facts = Facts(
        date=date,
        capabilities=sorted(capabilities),
        backend_version=description.server_version(),
        deviations=[
            {
                "case": one.case,
                "format": " ".join(one.formats) or "all",
                "reason": reason(one.finding),
            }
            for one in description.deviations
        ],
        kill_matrix=kill_matrix(),
        soak_s=options.execution.soak_s,
        command=shlex.join(["./check", *sys.argv[1:]]),
        all_cases=_all_cases(options),
    )
    key = load_key(options.certificate.key or default_key_path(os.environ), may_make=False)
    try:
        stated = statement(tally, facts)
    except ValueError as error:
        return [f"no certificate: {error}"]
    data = signed(stated, key)
    name = description.name.replace(":", "-")  # scp takes a colon for the end of a host
    path = Path(f"certificate-{name}-{date}.json")
    html = page(stated, path.name, public_key_of(key), digest(data))
    try:
        write_atomically(path, data.decode())
        write_atomically(path.with_suffix(".html"), html)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return [f"certificate: {path} and {path.with_suffix('.html').name}, {headline(stated)}",
            *filter(None, [not_judged(stated)]),
            f"signed by {public_key_of(key)}"]  # fmt: skip


def _all_cases(options: Options) -> int:
    """Return how many cases certify selects without a selection."""
    everything = Selection(arguments=("1-",), suites_dir=options.selection.suites_dir)
    plan = make_plan(everything, options.target, options.execution)
    return len({planned.case.case_id for planned in plan})


def reason(finding: str, path: Path = _FINDINGS) -> str:
    """Return the name of a finding, with the first paragraph that describes it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return finding
    pattern = rf"^## {re.escape(finding)}\n+(.+?)(?:\n\n|\Z)"
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    return f"{finding}: {' '.join(found[1].split())}" if found else finding


def kill_matrix(path: Path = _MATRIX) -> dict[str, object]:
    """Return how many seeded bugs this version of the suite detects, as its table says.

    Controls are in it if the table has them.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    found = _KILLED.search(data.decode(errors="replace"))
    if found is None:
        return {}
    names = ("killed", "seeded_bugs", "controls_accused", "controls")
    numbers = {name: int(text) for name, text in zip(names, found.groups(), strict=True) if text}
    return {**numbers, "sha256": hashlib.sha256(data).hexdigest()}


def compare(files: Sequence[Path]) -> int:
    """Print two certificates as a table; return 1 if one of them is not genuine.

    :raise UsageError: a file cannot be read.
    """
    statements = []
    for path in files:
        try:
            stated, _ = verified(read(path))
        except ValueError as error:
            print(f"{path}: refused: {error}", file=sys.stderr)
            return ExitCode.RED
        statements.append(stated)
    table = Table("", *(path.name for path in files), "", box=None, pad_edge=False)
    for name, one, other in compared(*statements):
        table.add_row(name, one, other, "" if one == other else "*")
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    console.print(table, markup=False)
    console.print("* the two differ", markup=False)
    return ExitCode.GREEN
