"""From options to the plan of a run: which cases, in which order, and what is excluded and why."""

from __future__ import annotations

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
    longest_first,
    shard,
    shuffled,
)
from qbdcheck.catalogue.selection import (
    Request,
    Selected,
    parse_exclusion_list,
    parse_exclusions,
    select,
)
from qbdcheck.errors import UsageError
from qbdcheck.options import Options
from qbdcheck.seed import Seed

SKIP_VARIABLE = "QBDCHECK_SKIP"
"""Environment variable with further exclusions: ``017 qcow2:185 nbdkit:030-032``."""
DURATIONS_VARIABLE = "QBDCHECK_DURATIONS"
"""Environment variable with the file of durations by which ``--shard`` splits."""
ALLOWED_NOT_RUN = "allowed-not-run.yaml"


@dataclass(frozen=True)
class Planned:
    """One case under one image format. ``excluded`` says why it is not run; "" where it is."""

    case: CaseInfo
    image_format: str
    excluded: str = ""


def make_plan(options: Options, environment: Mapping[str, str] = os.environ) -> list[Planned]:
    """All that the command line asks for, in the order of the run.

    :raise UsageError: an unknown case or group, an unreadable exclude file, or nothing is left.
    """
    groups = load_groups(options.suites_dir)
    catalogue = list_cases(options.suites_dir, groups)
    plan = [
        planned
        for image_format in options.formats
        for planned in _of_format(options, catalogue, image_format, groups, environment)
    ]
    plan.sort(key=lambda planned: planned.case.number)
    if options.resume:
        plan = _resumed(options, plan, catalogue)
    if not any(not planned.excluded for planned in plan):
        raise UsageError("nothing to run: " + _why_empty(options, plan))
    return _ordered(options, plan)


def _of_format(
    options: Options,
    catalogue: Sequence[CaseInfo],
    image_format: str,
    groups: Mapping[str, str],
    environment: Mapping[str, str],
) -> list[Planned]:
    selected = _selected(options, catalogue, image_format, groups, environment)
    return [
        *(Planned(case, image_format) for case in selected.cases),
        *(Planned(case, image_format, reason) for case, reason in selected.excluded),
    ]


def _selected(
    options: Options,
    catalogue: Sequence[CaseInfo],
    image_format: str,
    groups: Mapping[str, str],
    environment: Mapping[str, str],
) -> Selected:
    exclusions = _skips(environment.get(SKIP_VARIABLE, ""), {options.target, image_format})
    if options.exclude_file is not None:
        try:
            text = options.exclude_file.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise UsageError(f"cannot read exclude file {options.exclude_file}: {error}") from None
        exclusions |= parse_exclusions(text, options.exclude_file.name)
    exclusions |= parse_exclusion_list(options.exclude_cases)
    request = Request(
        options.selection,
        options.groups,
        options.exclude_groups,
        exclusions,
        options.start_from,
    )
    if options.resume and not (options.selection or options.groups):
        request = Request(("0-999",), (), options.exclude_groups, exclusions, options.start_from)
    return select(catalogue, request, groups)


def _skips(text: str, meant: set[str]) -> dict[str, str]:
    """Words of QBDCHECK_SKIP; what is before a colon must be this target or image format."""
    words: list[str] = []
    for word in text.replace(",", " ").split():
        scope, colon, case = word.rpartition(":")
        if not colon or scope in meant:
            words.append(case)
    return parse_exclusion_list(words, SKIP_VARIABLE)


def _resumed(options: Options, plan: list[Planned], catalogue: Sequence[CaseInfo]) -> list[Planned]:
    last = last_run(options.cache_dir)
    if last is None:
        raise UsageError("there is no last run to resume")
    left = set(last.left)
    if not left:
        raise UsageError("the last run has ended: nothing to resume")
    known = {case.case_id for case in catalogue}
    if gone := sorted({case_id for case_id, _ in left} - known):
        raise UsageError(f"cannot resume: case {gone[0]} of the last run is gone")
    return [planned for planned in plan if (planned.case.case_id, planned.image_format) in left]


def _why_empty(options: Options, plan: Sequence[Planned]) -> str:
    if plan:
        return "all selected cases are excluded"
    if options.shard:
        return f"shard {options.shard[0]}/{options.shard[1]} is empty"
    return "no case is in the selection; ./check -l lists all"


def _ordered(options: Options, plan: list[Planned]) -> list[Planned]:
    tables = {
        one: Elapsed.load(options.cache_dir, options.target, one).seconds for one in options.formats
    }
    usual = {one: estimate(seconds) for one, seconds in tables.items()}

    def duration_s(planned: Planned) -> float:
        seconds = tables[planned.image_format]
        return seconds.get(planned.case.case_id, usual[planned.image_format])

    if options.shard is not None:
        shared = _shared_durations(options.suites_dir, os.environ.get(DURATIONS_VARIABLE, ""))
        plan = shard(plan, *options.shard, lambda one: shared.get(one.case.case_id, UNKNOWN_S))
        if not any(not planned.excluded for planned in plan):
            raise UsageError(f"nothing to run: {_why_empty(options, [])}")
    if options.random_order:
        return shuffled(plan, Seed(options.seed).stream("order"))
    if options.turns:
        return by_turns(plan, lambda one: one.case.path.parent)
    if options.lanes > 1:
        return longest_first(plan, duration_s)
    return plan


def _shared_durations(suites_dir: Path, chosen: str) -> Mapping[str, float]:
    """Durations that are the same for all shards, unlike those of each machine's own last runs.

    A file of the cache's elapsed/ directory, named by QBDCHECK_DURATIONS or kept as
    suites/durations.json; without one all cases count the same.

    :raise UsageError: the file that was chosen cannot be read.
    """
    path = Path(chosen) if chosen else suites_dir / "durations.json"
    if chosen and not path.is_file():
        raise UsageError(f"{DURATIONS_VARIABLE}: no file {path}")
    return Elapsed.read(path).seconds


def allowed_reasons(suites_dir: Path) -> list[str]:
    """Patterns of reasons for "not run" that --strict lets pass, from allowed-not-run.yaml.

    :raise UsageError: the file is not a list of strings.
    """
    import yaml  # only for --strict

    path = suites_dir / ALLOWED_NOT_RUN
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if loaded is None:
        return []
    if not isinstance(loaded, list) or not all(isinstance(one, str) for one in loaded):
        raise UsageError(f"{path}: must be a list of patterns of reasons")
    return loaded
