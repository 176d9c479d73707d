"""`./check --mutants`: which seeded bugs do the cases see, how fast, by which diagnosis.

Each mutant is a target of its own (`-t mutant:ID`), on which a run of the selected cases goes on
until its first failure. A control is a legal backend: it must pass them all. Exit code 1 where a
mutant lives or a control is accused.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGINT
from typing import Any

from rich.console import Console
from rich.table import Table

from mutants.catalogue import catalogue, is_control
from qbdcheck import clock
from qbdcheck.errors import UsageError
from qbdcheck.options import Options
from qbdcheck.programs.process import Process, tail
from qbdcheck.report.cause import cause_of
from qbdcheck.targets.mutant_target import PREFIX

EXIT_USAGE = 2
ROOT = Path(__file__).parent.parent
_POLL_S = 0.05
_END_S = 30.0


@dataclass
class Fate:
    """What became of one mutant.

    :ivar seconds: from the start of the run to the first failure.
    :ivar named: whether the diagnosis of that failure names the damage that this mutant does.
    """

    id: str
    control: bool
    killed: bool
    seconds: float
    case: str = ""
    diagnosis: str = ""
    cases: int = 0
    named: bool = False

    @property
    def is_right(self) -> bool:
        """Mutants die, controls live."""
        return self.killed is not self.control


def main(options: Options) -> int:
    """Run the selection against the mutants that it names, or all; 1 where one is not right.

    :raise UsageError: an unknown id.
    """
    known = catalogue()
    wanted = [word for word in options.selection if word in known]
    cases = [word for word in options.selection if word not in known]
    for word in cases:
        if not word[0].isdigit():
            near = difflib.get_close_matches(word, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {' '.join(known)}"
            raise UsageError(f"unknown mutant '{word}'; {hint}")
    run_words = [*cases, "--turns", "-j", str(options.lanes), "--seed", str(options.seed)]
    for flag, words in (("-g", options.groups), ("-x", options.exclude_groups)):
        if words:
            run_words += [flag, ",".join(words)]
    console = Console(record=options.html_file is not None)
    fates: list[Fate] = []
    progress = Progress(options.cache_dir / "mutants.json", [*cases, *options.groups])
    earlier = progress.load() if options.resume else {}
    for one in wanted or known:
        fate = earlier.get(one) or _fate(one, is_control(known[one]), run_words)
        fate.named = fate.killed and re.search(known[one].shows, fate.diagnosis) is not None
        fates.append(fate)
        progress.save(fates)
        state = "killed" if fate.killed else "alive"
        mark = "" if fate.is_right else "  <--"
        console.print(
            f"{one:36} {state:6} {fate.seconds:5.1f}s  {fate.case}{mark}",
            soft_wrap=True,
            highlight=False,
        )
    _summary(console, fates)
    if options.json_file is not None:
        report = [asdict(fate) for fate in fates]
        options.json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.html_file is not None:
        console.save_html(str(options.html_file))
    return 0 if all(fate.is_right for fate in fates) else 1


class Progress:
    """What is known already, so that ``--resume`` goes on where the last run stopped.

    :param words: what was run; another selection begins anew.
    """

    def __init__(self, file: Path, words: Sequence[str]) -> None:
        self._file = file
        self._words = list(words)

    def load(self) -> dict[str, Fate]:
        """Return the fates of the last run of the same selection, by id."""
        try:
            told = json.loads(self._file.read_text(encoding="utf-8"))
            if told["words"] != self._words:
                return {}
            return {fate["id"]: Fate(**fate) for fate in told["fates"]}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def save(self, fates: Sequence[Fate]) -> None:
        """Keep what is known."""
        told = {"words": self._words, "fates": [asdict(fate) for fate in fates]}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(told), encoding="utf-8")


def _fate(mutant: str, control: bool, run_words: Sequence[str]) -> Fate:
    with tempfile.TemporaryDirectory(prefix="qm") as directory:
        events = Path(directory) / "events"
        events.touch()
        argv = [sys.executable, "-m", "qbdcheck", "-t", PREFIX + mutant, "--events", str(events)]
        # Its durations and its last run are not those of the user.
        environment = {"XDG_CACHE_HOME": directory}
        started_s = clock.now_s()
        words = [*argv, *run_words]
        run = Process(words, Path(directory), "check", env=environment, cwd=ROOT)
        fate = Fate(mutant, control, killed=False, seconds=0.0)
        try:
            _watch(_events(events, run), fate)
        finally:
            fate.seconds = round(clock.now_s() - started_s, 2)
            _end(run, fate)
        return fate


def _watch(events: Iterator[dict[str, Any]], fate: Fate) -> None:
    """Read on until the first case fails."""
    for event in events:
        verdict = str(event.get("verdict", "")).lower().replace("_", " ")
        fate.cases += verdict not in ("", "not run")
        if verdict in ("fail", "broken"):
            fate.killed, fate.case = True, event["case_id"]
            fate.diagnosis = cause_of(event["message"], event.get("details", ""))
            return


def _events(file: Path, run: Process) -> Iterator[dict[str, Any]]:
    """Yield the events of a run as it writes them, until it ends."""
    with file.open(encoding="utf-8") as stream:
        rest = ""
        while True:
            ended = run.has_ended_within(_POLL_S)
            *lines, rest = (rest + stream.read()).split("\n")
            yield from (json.loads(line) for line in lines if line)
            if ended:
                return


def _end(run: Process, fate: Fate) -> None:
    """Stop the run; one that could not even start has killed the mutant as well."""
    code = run.stop(SIGINT, _END_S)
    if not fate.killed and code == EXIT_USAGE:
        fate.killed, fate.case = True, "set-up of the target"
        fate.diagnosis = tail(run.output(), 1)


def _summary(console: Console, fates: Sequence[Fate]) -> None:
    mutants = [fate for fate in fates if not fate.control]
    killed = [fate for fate in mutants if fate.killed]
    accused = [fate for fate in fates if fate.control and fate.killed]
    table = Table("mutant", "killed by", "s", "diagnosis", title="Kill matrix")
    for fate in fates:
        if fate.killed:
            diagnosis = fate.diagnosis.splitlines()[0] if fate.diagnosis else ""
            mark = "" if fate.named or fate.control else "? "
            table.add_row(fate.id, fate.case, f"{fate.seconds:.1f}", mark + diagnosis[:90])
    console.print(table)
    alive = [fate.id for fate in mutants if not fate.killed]
    seconds = sorted(fate.seconds for fate in killed)
    middle = f", median {seconds[len(seconds) // 2]:.1f} s" if seconds else ""
    console.print(f"Killed {len(killed)} of {len(mutants)} mutants{middle}", highlight=False)
    unnamed = [fate.id for fate in killed if not fate.named]
    named = len(killed) - len(unnamed)
    console.print(f"The diagnosis names the damage of {named} of them", highlight=False)
    if unnamed:
        console.print(f"Not named: {' '.join(unnamed)}", highlight=False)
    if alive:
        console.print(f"Alive: {' '.join(alive)}", highlight=False)
    if accused:
        console.print(f"Accused controls: {' '.join(f.id for f in accused)}", highlight=False)
