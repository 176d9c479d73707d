"""Make the plan of a run: which cases run in which order, and which are excluded and why."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.catalogue.groups import load_groups
from qbdcheck.catalogue.history import Elapsed, last_run
from qbdcheck.catalogue.ordering import (
    UNKNOWN_S,
    by_turns,
    estimate,
    listed_first,
    longest_first,
    shard,
    shuffled,
)
from qbdcheck.catalogue.selection import (
    Request,
    Selected,
    expand_exclusions,
    parse_exclusion_list,
    parse_exclusions,
    select,
)
from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND, why_unreadable
from qbdcheck.options import Execution, Selection, TargetOptions
from qbdcheck.seed import Seed

SKIP_VARIABLE = "QBDCHECK_SKIP"
"""Environment variable with further exclusions: ``017 qcow2:185 nbdkit:030-032``."""
DURATIONS_VARIABLE = "QBDCHECK_DURATIONS"
"""Environment variable with the file of durations by which ``--shard`` splits."""
ALLOWED_NOT_RUN = "allowed-not-run.yaml"
BEST_FIRST = "best-first.txt"


@dataclass(frozen=True)
class Planned:
    """One case under one image format. ``excluded`` is the reason if it is excluded, else ""."""

    case: CaseInfo
    image_format: str
    excluded: str = ""


def make_plan(
    selection: Selection,
    target: TargetOptions,
    execution: Execution,
    environment: Mapping[str, str] = os.environ,
) -> list[Planned]:
    """Return everything that the command line selects, in the order of the run.

    :raise UsageError: a case or group is unknown, the exclude file is unreadable, or no case is
        left to run.
    """
    groups = load_groups(selection.suites_dir)
    catalogue = list_cases(selection.suites_dir, groups)
    plan = []
    for image_format in target.formats:
        exclusions = exclusions_of(selection, target.name, image_format, environment)
        selected = _selected(selection, catalogue, groups, exclusions)
        plan += [Planned(case, image_format) for case in selected.cases]
        plan += [Planned(case, image_format, reason) for case, reason in selected.excluded]
    plan.sort(key=lambda planned: planned.case.number)
    if selection.resume or selection.last_failed:
        plan = _of_last_run(execution.cache_dir, plan, catalogue, selection.last_failed)
    if all(planned.excluded for planned in plan):
        raise UsageError("nothing to run: " + _why_empty(plan))
    if selection.shard is not None:
        plan = _shard_of(plan, *selection.shard, selection.suites_dir, environment)
    return _ordered(selection, target, execution, plan)


def _selected(
    selection: Selection,
    catalogue: Sequence[CaseInfo],
    groups: Mapping[str, str],
    exclusions: Mapping[str, str],
) -> Selected:
    request = Request(
        selection.arguments,
        selection.groups,
        selection.exclude_groups,
        exclusions,
        selection.start_from,
        everything=selection.everything
        or (
            (selection.resume or selection.last_failed)
            and not (selection.arguments or selection.groups)
        ),
    )
    return select(catalogue, request, groups)


def exclusions_of(
    selection: Selection, target: str, image_format: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the cases and ranges that QBDCHECK_SKIP, -X and -e exclude, with their reasons.

    :raise UsageError: the exclude file is unreadable.
    """
    exclusions = _skips(environment.get(SKIP_VARIABLE, ""), {target, image_format})
    file = selection.exclude_file
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise UsageError(f"exclude file {file}: {why_unreadable(error)}") from None
        exclusions |= parse_exclusions(text, file.name)
    return exclusions | parse_exclusion_list(selection.exclude_cases)


def excluded_reasons(
    selection: Selection,
    target: str,
    catalogue: Sequence[CaseInfo],
    image_format: str,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the excluded cases of `catalogue`, by id, with their reasons.

    :raise UsageError: an exclusion names an unknown case, or the exclude file is unreadable.
    """
    return expand_exclusions(catalogue, exclusions_of(selection, target, image_format, environment))


def _skips(text: str, scopes: set[str]) -> dict[str, str]:
    """Parse QBDCHECK_SKIP; an entry with a prefix counts only if the prefix is in `scopes`."""
    entries: list[str] = []
    for entry in text.replace(",", " ").split():
        scope, colon, case = entry.rpartition(":")
        if not colon or scope in scopes:
            entries.append(case)
    return parse_exclusion_list(entries, SKIP_VARIABLE)


def _of_last_run(
    cache_dir: Path, plan: list[Planned], catalogue: Sequence[CaseInfo], failed: bool
) -> list[Planned]:
    """Return the part of `plan` that failed in the last run, or that it did not finish."""
    last = last_run(cache_dir)
    if last is None:
        raise UsageError(f"there is no last run{'' if failed else ' to resume'}")
    wanted = set(last.bad if failed else last.left)
    if not wanted:
        why = "no case of the last run failed" if failed else "the last run is complete"
        raise UsageError(f"{why}: nothing to {'run' if failed else 'resume'}")
    known = {case.case_id for case in catalogue}
    if gone := sorted({case_id for case_id, _ in wanted} - known):
        verb = "run" if failed else "resume"
        raise UsageError(f"cannot {verb}: case {gone[0]} of the last run no longer exists")
    return [planned for planned in plan if (planned.case.case_id, planned.image_format) in wanted]


def _why_empty(plan: Sequence[Planned]) -> str:
    if plan:
        return "all selected cases are excluded"
    return f"the selection has no case; {COMMAND} -l lists all"


def _shard_of(
    plan: list[Planned], part: int, parts: int, suites_dir: Path, environment: Mapping[str, str]
) -> list[Planned]:
    durations = _shared_durations(suites_dir, environment.get(DURATIONS_VARIABLE, ""))
    chosen = shard(plan, part, parts, lambda one: durations.get(one.case.case_id, UNKNOWN_S))
    if all(planned.excluded for planned in chosen):
        why = "all its cases are excluded" if chosen else "there are more shards than cases"
        raise UsageError(f"nothing to run: shard {part}/{parts} is empty: {why}")
    return chosen


def _ordered(
    selection: Selection, target: TargetOptions, execution: Execution, plan: list[Planned]
) -> list[Planned]:
    if selection.random_order:
        return shuffled(plan, Seed(execution.seed).stream("order"))
    if selection.turns or selection.best_first:
        best = best_cases(selection.suites_dir) if selection.best_first else []
        in_turn = by_turns(plan, lambda one: one.case.path.parent)
        return listed_first(in_turn, lambda one: one.case.case_id, best)
    if execution.lanes == 1 or execution.in_order:
        return plan
    tables = {
        one: Elapsed.load(execution.cache_dir, target.name, one).seconds for one in target.formats
    }
    default = {one: estimate(seconds) for one, seconds in tables.items()}

    def duration_s(planned: Planned) -> float:
        seconds = tables[planned.image_format]
        return seconds.get(planned.case.case_id, default[planned.image_format])

    return longest_first(plan, duration_s)


def best_cases(suites_dir: Path) -> list[str]:
    """Return the ids of the cases that find the most bugs per second, the best first.

    They come from suites/best-first.txt, which `tools/best_first.py` writes; none if it is missing.
    """
    try:
        lines = (suites_dir / BEST_FIRST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line for line in lines if line and not line.startswith("#")]


def _shared_durations(suites_dir: Path, chosen: str) -> Mapping[str, float]:
    """Return durations that are the same for all shards, so not those of this machine's last runs.

    They come from the file that QBDCHECK_DURATIONS names, or from suites/durations.json. It has the
    format of a file in the cache's elapsed/ directory. Without a file all cases count the same.

    :raise UsageError: the file that QBDCHECK_DURATIONS names does not exist.
    """
    path = Path(chosen) if chosen else suites_dir / "durations.json"
    if chosen and not path.is_file():
        raise UsageError(f"{DURATIONS_VARIABLE}: no file {path}")
    return Elapsed.read(path).seconds


def allowed_reasons(suites_dir: Path, target: str) -> list[str]:
    """Return the patterns of reasons for "not run" that --strict allows: allowed-not-run.yaml.

    An entry is a pattern (fnmatch) of reasons, or ``{target: PATTERN, reason: PATTERN}`` for
    targets with such a name only; ``!PATTERN`` stands for all others.

    :raise UsageError: the file is not a list of these.
    """
    import yaml  # third-party: only with --strict

    path = suites_dir / ALLOWED_NOT_RUN
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if loaded is None:
        return []
    if not isinstance(loaded, list) or not all(map(_is_reason, loaded)):
        raise UsageError(
            f"{path}: must be a list of patterns of reasons, or of {{target: PATTERN,"
            " reason: PATTERN}"
        )
    entries = [one if isinstance(one, dict) else {"target": "*", "reason": one} for one in loaded]
    return [one["reason"] for one in entries if _is_named(target, one["target"])]


def _is_named(target: str, pattern: str) -> bool:
    named = fnmatch.fnmatchcase(target, pattern.removeprefix("!"))
    return named is not pattern.startswith("!")


def _is_reason(entry: object) -> bool:
    if isinstance(entry, dict):
        words = [*entry, *entry.values()]
        return set(entry) == {"target", "reason"} and all(isinstance(one, str) for one in words)
    return isinstance(entry, str)
