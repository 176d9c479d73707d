"""Make one run of the runs of its parts, such as shards in parallel CI jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.report.events import CaseEnded, RunEnded, RunStarted
from qbdcheck.report.tally import Tally
from qbdcheck.saved.runs import SavedRun, Unit

_MUST_BE_EQUAL = {"target": "targets", "formats": "image formats"}


@dataclass
class Merged:
    """The run that was made, and what is to be said of it."""

    tally: Tally = field(default_factory=Tally)
    remarks: list[str] = field(default_factory=list)
    """Missing shards, runs that did not end, and cases that several reports have."""


def merge(runs: Sequence[SavedRun]) -> Merged:
    """Return one run. Of a case in several reports, the worst verdict counts.

    The exit code of the run is 1 if a case failed, a run did not end, or a shard is missing.

    :raise UsageError: the runs are not parts of one: other target, formats, or version of qbdcheck.
    """
    headers = [_header(run) for run in runs]
    _check_equal(runs, headers)
    made = Merged()
    made.remarks += [*_missing(headers), *_not_ended(runs)]
    cases = list(_cases(runs, made.remarks))
    first = min(headers, key=lambda header: header.started_s)
    made.tally.handle(
        replace(
            first,
            run_id=f"{first.run_id}+{len(runs) - 1}",
            selected=sum(header.selected for header in headers),
            lanes=sum(header.lanes for header in headers),
            environment=_environment(headers),
            shard="",
        )
    )
    for case in cases:
        made.tally.handle(case)
    for run in runs:
        for retried in run.tally.retries:
            made.tally.handle(retried)
        for experiment in run.tally.experiments:
            made.tally.handle(experiment)
    ends = [run.tally.end for run in runs if run.tally.end is not None]
    stopped = next((end.stopped for end in ends if end.stopped), "")
    bad = any(case.verdict.is_bad for case in cases)
    incomplete = any(_is_incomplete(run) for run in runs) or bool(_missing(headers))
    made.tally.handle(
        RunEnded(
            elapsed_s=max((end.elapsed_s for end in ends), default=0.0),
            counts=made.tally.counts,
            exit_code=int(ExitCode.RED if bad or incomplete else ExitCode.GREEN),
            interrupted=any(end.interrupted for end in ends),
            stopped=stopped or ("a part is missing" if incomplete else ""),
        )
    )
    return made


def _header(run: SavedRun) -> RunStarted:
    if run.tally.run is None:
        raise UsageError(f"{run.name}: the run ended before it started; it has no header")
    return run.tally.run


def _check_equal(runs: Sequence[SavedRun], headers: Sequence[RunStarted]) -> None:
    for run, header in zip(runs[1:], headers[1:], strict=True):
        for name, words in _MUST_BE_EQUAL.items():
            _equal(runs[0], run, words, str(getattr(headers[0], name)), str(getattr(header, name)))
        versions = [one.environment.get("qbdcheck", "unknown") for one in (headers[0], header)]
        _equal(runs[0], run, "versions of qbdcheck", *versions)


def _equal(first: SavedRun, run: SavedRun, words: str, one: str, other: str) -> None:
    if one != other:
        raise UsageError(
            f"{first.name} and {run.name} have different {words}, {one} and {other}: they are not"
            " parts of one run"
        )


def _missing(headers: Sequence[RunStarted]) -> list[str]:
    """Return a line on missing shards; [] if none is missing."""
    parts = {header.shard for header in headers if header.shard}
    counts = sorted({int(part.partition("/")[2]) for part in parts})
    lines = []
    if len(counts) > 1:
        lines.append(f"shards of different divisions: {', '.join(sorted(parts))}")
    for count in counts:
        missing = [f"{n}/{count}" for n in range(1, count + 1) if f"{n}/{count}" not in parts]
        if missing:
            lines.append(f"missing shard{'s' * (len(missing) != 1)}: {', '.join(missing)}")
    return lines


def _is_incomplete(run: SavedRun) -> bool:
    end = run.tally.end
    return end is None or end.interrupted or bool(end.stopped)


def _not_ended(runs: Sequence[SavedRun]) -> list[str]:
    return [
        f"{run.name}: the run ended early ({len(run.tally.cases)} of {_header(run).selected} cases)"
        for run in runs
        if _is_incomplete(run)
    ]


def _cases(runs: Sequence[SavedRun], remarks: list[str]) -> Iterator[CaseEnded]:
    """Yield the cases by number, and add a remark for each one that several reports have."""
    found: dict[tuple[str, str], list[Unit]] = {}
    for run in runs:
        for key, unit in run.units.items():
            found.setdefault(key, []).append(unit)
    for (case_id, image_format), units in sorted(found.items()):
        if len(units) == 1:
            yield from units[0].cases
            continue
        verdicts = ", ".join(unit.verdict.value for unit in units)
        remarks.append(
            f"{case_id} {image_format}: in {len(units)} reports ({verdicts}); the worst counts"
        )
        yield Unit(tuple(case for unit in units for case in unit.cases)).worst


def _environment(headers: Sequence[RunStarted]) -> dict[str, str]:
    """Return the facts of all machines; different ones separated by bars."""
    names = dict.fromkeys(name for header in headers for name in header.environment)
    made = {
        name: " | ".join(
            dict.fromkeys(
                header.environment[name] for header in headers if name in header.environment
            )
        )
        for name in names
    }
    seeds = dict.fromkeys(str(header.seed) for header in headers)
    return made | ({"seeds": " | ".join(seeds)} if len(seeds) > 1 else {})
