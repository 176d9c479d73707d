"""`./check --mutants`: which seeded bugs the cases find, how fast, and by which diagnosis.

Each mutant is a target (`-t mutant:ID`). The selected cases run on it until the first failure; with
``--each-suite`` each suite runs separately. A control is a legal backend: it must pass all cases.
The exit code is 1 if a mutant is not killed or does not start, or if a case fails on a control. It
is 2 if nothing could be tested.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from rich.console import Console

from mutants.catalogue import catalogue, is_control
from mutants.controls import Legal
from mutants.oddities import ODDITIES, alone, combined, control_of, drawn
from qbdcheck.catalogue.plan import Planned, make_plan
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.mutation import fingerprint_run, on_workers
from qbdcheck.mutation.mutant_run import (
    NOT_READY,
    NOT_TESTABLE,
    Cell,
    Fate,
    Runner,
)
from qbdcheck.mutation.tables import page, print_grid, print_summary
from qbdcheck.mutation.wanted import Wanted
from qbdcheck.options import (
    Execution,
    MutationOptions,
    Options,
    Reports,
    Selection,
    TargetOptions,
)
from qbdcheck.report import page_case
from qbdcheck.targets.mutant_target import HAS, knobs_for, parse

_FILE_WIDTH = 160


def list_mutants(selection: Selection, mutation: MutationOptions) -> int:
    """Print the mutants that would run, each with what it does; return the exit code.

    :raise UsageError: an id or a knob is unknown.
    """
    ids = [word for word in selection.arguments if not word[0].isdigit()]
    wanted = (
        read_controls(ids, 1, mutation.combinations)
        if mutation.controls
        else read_wanted(ids, mutation.knobs)
    )
    names = [":".join(filter(None, (one.mutant.id, one.knobs))) for one in wanted]
    width = max(map(len, names))
    for name, one in zip(names, wanted, strict=True):
        sys.stdout.write(f"{name:{width}}  {one.mutant.breaks}\n")
    return ExitCode.GREEN


def main(
    selection: Selection,
    target: TargetOptions,
    execution: Execution,
    reports: Reports,
    mutation: MutationOptions,
    *,
    cluster: Options | None = None,
) -> int:
    """Run the selection against the mutants that it names, or against all; return the exit code.

    :param cluster: all options, if the workers of ``--cluster`` shall run it.
    :raise UsageError: an id, a knob or a case is unknown; nothing has been run.
    """
    cases = tuple(word for word in selection.arguments if word[0].isdigit())
    ids = [word for word in selection.arguments if word not in cases]
    if mutation.combinations and not mutation.controls:
        raise UsageError("--combinations requires --controls")
    if mutation.controls:
        wanted = read_controls(ids, execution.seed, mutation.combinations)
    else:
        wanted = read_wanted(ids, mutation.knobs)
    if mutation.fingerprints_file is not None:
        flags = [*_flags(selection, target, execution), *_selecting(selection), *cases]
        if cluster is not None:
            on_workers.fingerprints(cluster, wanted, flags)
            return ExitCode.GREEN
        flags = ["--best-first", "-j", str(execution.lanes), *flags]
        return _fingerprints(wanted, mutation, execution.repeat, flags)
    of_cases = replace(selection, arguments=cases, resume=False)
    plan = make_plan(of_cases, target, execution)
    plan = [planned for planned in plan if not planned.excluded]
    guards = {one.case.case_id: guarded_bugs(one.case.path) for one in plan}
    runner = Runner(
        ["--best-first", "-j", str(execution.lanes), *_flags(selection, target, execution)], guards
    )
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    progress = Progress(execution.cache_dir / "mutants.json", [*cases, *_selecting(selection)])
    earlier = progress.load() if selection.resume else {}
    fates: list[Fate] = []
    if cluster is not None:
        flags = [*_flags(selection, target, execution), *_selecting(selection), *cases]
        earlier |= _on_workers(cluster, wanted, earlier, flags, progress=progress, console=console)
    for one in wanted:
        fate = earlier.get((one.mutant.id, one.knobs))
        if fate is None:
            control = is_control(one.mutant)
            fate = Fate(
                id=one.mutant.id, control=control, knobs=one.knobs, knobs_left_out=one.left_out
            )
            runner.run(one.mutant, one.knobs, [*cases, *_selecting(selection)], fate)
        if mutation.each_suite and not fate.suites:
            fate.suites = _each_suite(runner, one, plan, fate)
        fates.append(fate)
        progress.save(fates)
        if cluster is None:
            _print_fate(console, fate)
    if mutation.each_suite:
        print_grid(console, fates)
    print_summary(console, fates)
    _write(reports, fates)
    if all(fate.state == NOT_TESTABLE for fate in fates):
        return ExitCode.USAGE
    return ExitCode.GREEN if all(fate.is_right for fate in fates) else ExitCode.RED


def _write(reports: Reports, fates: Sequence[Fate]) -> None:
    if reports.json_file is not None:
        report = [fate.as_json() for fate in fates]
        reports.json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if reports.html_file is not None:
        reports.html_file.write_text(page(fates), encoding="utf-8")


def _on_workers(
    cluster: Options,
    wanted: Sequence[Wanted],
    earlier: Mapping[tuple[str, str], Fate],
    flags: Sequence[str],
    *,
    progress: Progress,
    console: Console,
) -> dict[tuple[str, str], Fate]:
    """Run the mutants that have no fate yet on workers; save and print each fate as it comes."""
    found = {(one.mutant.id, one.knobs): earlier.get((one.mutant.id, one.knobs)) for one in wanted}
    left = [one for one in wanted if found[one.mutant.id, one.knobs] is None]

    def ended(fate: Fate) -> None:
        found[fate.id, fate.knobs] = fate
        progress.save([one for one in found.values() if one is not None])
        _print_fate(console, fate)

    on_workers.kill_matrix(cluster, left, flags, ended)
    return {key: fate for key, fate in found.items() if fate is not None}


def _fingerprints(
    wanted: Sequence[Wanted], mutation: MutationOptions, repeat: int, flags: Sequence[str]
) -> int:
    """Take the samples that the file does not have yet; first one of each mutant.

    :raise UsageError: the file cannot be read or written, or is something else.
    """
    assert mutation.fingerprints_file is not None
    progress = fingerprint_run.Progress.load(mutation.fingerprints_file)
    for seed in range(mutation.first_seed, mutation.first_seed + repeat):
        for one in wanted:
            if not progress.has(one.mutant.id, one.knobs, seed):
                sample = fingerprint_run.measure(one.mutant, one.knobs, seed, flags)
                progress.add(sample)
                fingerprint_run.say(sample)
    return ExitCode.GREEN


def read_controls(arguments: Sequence[str], seed: int, combinations: int = 0) -> list[Wanted]:
    """Return all controls, each legal oddity alone, and combinations with each pair of oddities.

    A control that is an oddity is there once.

    :param arguments: texts of oddities, ``NAME+NAME``: these instead of all.
    :param seed: of the combinations.
    :param combinations: return so many random combinations, and nothing else; 0: all as above.
    :raise UsageError: an oddity is unknown.
    """
    if arguments:
        return read_wanted([f"{Legal.id}:{HAS}={text}" for text in arguments], "")
    if combinations:
        return [Wanted(Legal, f"{HAS}={text}") for text in drawn(seed, combinations)]
    of_oddities = {control_of(one) for one in ODDITIES.values()}
    others = [one for one in catalogue().values() if is_control(one) and one not in of_oddities]
    controls = [one for one in others if one is not Legal]
    texts = [*alone(), *combined(seed)]
    return [*map(Wanted, controls), *(Wanted(Legal, f"{HAS}={text}") for text in texts)]


def read_wanted(arguments: Sequence[str], knobs: str) -> list[Wanted]:
    """Return the mutants of arguments ``ID[:KEY=VALUE...]``, or all; add the shared knobs.

    :raise UsageError: an argument or knob is wrong; one line.
    """
    shared = knobs.split(":") if knobs else []
    found = []
    for argument in arguments or catalogue():
        mutant, base, own = parse(argument)
        if base != mutant.base:
            raise UsageError(f"{argument}: --mutants uses {mutant.base}; use -t mutant:{argument}")
        names = {pair.partition("=")[0] for pair in own}
        if "requests" in names:
            raise UsageError(f"{argument}: --mutants counts the requests itself")
        fitting = knobs_for(mutant, shared)
        left_out = [pair for pair in shared if pair not in fitting]
        both = [*own, *(pair for pair in fitting if pair.partition("=")[0] not in names)]
        found.append(Wanted(mutant, ":".join(both), ":".join(left_out)))
    return found


def guarded_bugs(case: Path) -> frozenset[str]:
    """Return the bugs of a case's ``Guards:`` line."""
    return frozenset(page_case.guarded_bugs(case))


def _selecting(selection: Selection) -> list[str]:
    """Return the flags that select cases."""
    flags = []
    for flag, values in (("-g", selection.groups), ("-x", selection.exclude_groups),
                         ("-e", selection.exclude_cases)):  # fmt: skip
        flags += [flag, ",".join(values)] if values else []
    return flags


def _flags(selection: Selection, target: TargetOptions, execution: Execution) -> list[str]:
    flags = ["--seed", str(execution.seed)]
    flags += ["--suites-dir", str(selection.suites_dir), "--golden-dir", str(execution.golden_dir)]
    flags += ["--targets-dir", str(target.targets_dir)]
    if execution.timeout_s is not None:
        flags += ["--timeout", str(execution.timeout_s)]
    return flags


def _each_suite(
    runner: Runner, one: Wanted, plan: Sequence[Planned], fate: Fate
) -> dict[str, Cell]:
    """Run the cases of each suite separately, each until its first kill."""
    cells: dict[str, Cell] = {}
    by_suite: dict[str, list[str]] = {}
    for planned in plan:
        by_suite.setdefault(planned.case.path.parent.name, []).append(f"{planned.case.number:03d}")
    for suite, numbers in sorted(by_suite.items(), key=lambda pair: pair[1][0]):
        cells[suite] = Cell()
        if fate.state == NOT_READY:
            names = (field.name for field in fields(Cell))
            cells[suite] = Cell(**{name: getattr(fate, name) for name in names})
        else:
            runner.run(one.mutant, one.knobs, numbers, cells[suite])
    return cells


class Progress:
    """The results so far, so that ``--resume`` continues where the last run stopped.

    :param selection: the arguments that select mutants and cases; a run with another selection
        starts from the beginning.
    """

    def __init__(self, file: Path, selection: Sequence[str]) -> None:
        self._file = file
        self._selection = list(selection)

    def load(self) -> dict[tuple[str, str], Fate]:
        """Return the fates of the last run of the same selection, by id and knobs."""
        try:
            saved = json.loads(self._file.read_text(encoding="utf-8"))
            if saved["selection"] != self._selection:
                return {}
            fates = [Fate.from_json(one) for one in saved["fates"]]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {(fate.id, fate.knobs): fate for fate in fates}

    def save(self, fates: Sequence[Fate]) -> None:
        """Save the results."""
        saved = {"selection": self._selection, "fates": [fate.as_json() for fate in fates]}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(saved), encoding="utf-8")


def _print_fate(console: Console, fate: Fate) -> None:
    name = ":".join(filter(None, [fate.id, fate.knobs]))
    state = fate.state
    mark = "" if fate.is_right else "  <--"
    counts = f"{fate.seconds:5.1f}s {fate.requests:7} requests"
    line = f"{name:36} {state:6} {counts}  {fate.case}{mark}"
    console.print(line, soft_wrap=True, highlight=False)
