"""An experiment on one failure, within a limit of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from oracles.damage import Damage
from oracles.finding import Finding, telling
from oracles.recorded import scripts_of
from oracles.scripts import Script
from qbdcheck import clock
from qbdcheck.kit.experiment import variants, words
from qbdcheck.kit.experiment.bench import Bench
from qbdcheck.kit.experiment.outcomes import FAILS, RIGHT, Judge, Tried, kind_of
from qbdcheck.kit.experiment.script_search import first_failing, smallest, with_step
from qbdcheck.kit.experiment.thresholds import failing_range, places_of, probes
from qbdcheck.machine_speed import Limit
from qbdcheck.report.events import CaseExperiment, Trial

LIMIT_S = 20.0
"""Seconds of work of an experiment."""
_SEARCH_S = 10.0
"""Seconds of work to find a script that fails, and to make it small."""
_PATIENCE = 2.0
"""On a machine that is starved, an experiment takes so many times longer at most."""
_PLAYS = 3
_LONGEST = 8 << 20
_LENGTHS = 3
"""Steps whose length is varied."""
_NOT_PLAYED = (Damage.CHANGING, Damage.METADATA, Damage.FILE, Damage.SIZE, Damage.NOT_READY)
NOT_TRIED, NOT_REPRODUCED, REPRODUCED = "not tried", "not reproduced", "reproduced"


def candidates(
    findings: Sequence[Finding], kept: Script | None
) -> tuple[Damage | None, list[tuple[str, Script]]]:
    """Return the damage to look for, and scripts that may show it, the shortest first.

    :param kept: the script that the case left.
    """
    found: list[tuple[str, Script]] = [("the case's own script", kept)] if kept else []
    if not findings:
        return None, found
    finding = findings[telling(findings, 1)[0]]
    wanted = kind_of(finding)
    recorded = next((one for one in (finding, *findings) if one.record is not None), None)
    if wanted not in _NOT_PLAYED and recorded is not None and recorded.record is not None:
        place = [finding.place] if finding.place[1] else []
        asks = wanted is Damage.STATUS
        found += scripts_of(recorded.record, place, with_status=asks)
    return wanted, found


class Experiment:
    """Finds a script that fails as the case did, makes it small, and varies it."""

    def __init__(self, bench: Bench, wanted: Damage, limit_s: float = LIMIT_S) -> None:
        self._bench = bench
        self._limit, self._search = Limit(limit_s), Limit(min(_SEARCH_S, limit_s / 2))
        self._end_s = clock.now_s() + _PATIENCE * limit_s
        self._judge = Judge(bench.play, wanted, lambda: self._is_over(self._search))
        self._begun_s = clock.now_s()
        self._trials: list[Trial] = []
        self._said = words.Said()

    def run(self, scripts: Sequence[tuple[str, Script]]) -> CaseExperiment:
        """Return what came of it."""
        found = first_failing(scripts, self._judge)
        if found is None:
            return self._made(NOT_REPRODUCED, _not_reproduced(scripts, self._judge))
        source, script = found
        script = smallest(script, self._judge)
        self._judge.is_over = lambda: self._is_over(self._limit)
        rate = self._judge.rate(script, _PLAYS)
        if not rate.failed:  # it failed once before
            rate = Tried("sometimes", rate.plays + 1, 1)
        if rate.outcome == FAILS:
            self._vary(script)
        made = self._made(REPRODUCED, words.sentence_of(script, rate, source))
        return replace(
            made,
            source=source,
            script=script.to_yaml(),
            steps=tuple(words.step_in_words(one) for one in script.steps),
            plays=rate.plays,
            failed=rate.failed,
        )

    def _is_over(self, limit: Limit) -> bool:
        return limit.is_over or clock.now_s() >= self._end_s

    def _made(self, outcome: str, sentence: str) -> CaseExperiment:
        said = self._said
        return CaseExperiment(
            case_id="",
            number=0,
            image_format="",
            outcome=outcome,
            sentence=sentence,
            needed=tuple(said.needed),
            indifferent=tuple(said.indifferent),
            unclear=tuple(said.unclear),
            trials=tuple(self._trials),
            all_plays=self._judge.count,
            elapsed_s=clock.now_s() - self._begun_s,
            is_complete=not self._judge.is_over(),
        )

    def _vary(self, script: Script) -> None:
        abilities, unit = self._bench.abilities, self._bench.alignment
        first = len(self._trials)
        for variant in variants.of_requests(script, abilities):
            self._try(variant)
        words.say_trials(self._trials[first:], self._said)
        for number in _longest(script):
            self._vary_length(script, number, unit)
        self._vary_place(script, unit)
        first = len(self._trials)
        for variant in variants.of_surroundings(script, abilities, unit):
            self._try(variant)
        words.say_trials(self._trials[first:], self._said)

    def _try(self, variant: variants.Variant) -> None:
        tried = self._judge.tried(variant.script)
        if tried is not None:
            self._note(variant.step, variant.factor, variant.as_is, variant.change, tried)

    def _note(self, step: int, factor: str, as_is: str, change: str, tried: Tried) -> None:
        seen = tried.seen if tried.outcome not in (FAILS, RIGHT) else ""
        self._trials.append(
            Trial(step, factor, as_is, change, tried.outcome, tried.plays, tried.failed, seen)
        )

    def _asked(
        self, make: Callable[[int], Script | None], step: int, factor: str, as_is: str
    ) -> Callable[[int], bool | None]:
        """Return a function that tries a value; None: it is not known whether it fails."""

        def fails(value: int) -> bool | None:
            script = make(value)
            tried = None if script is None else self._judge.tried(script)
            if tried is None:
                return None
            self._note(step, factor, as_is, f"{value:,}", tried)
            return {FAILS: True, RIGHT: False}.get(tried.outcome)

        return fails

    def _vary_length(self, script: Script, number: int, unit: int) -> None:
        step = script.steps[number]
        most = min(script.size - step.offset, _LONGEST)
        fails = self._asked(
            lambda value: variants.with_length(script, number, value),
            number + 1,
            "length",
            f"{step.length:,}",
        )
        found = failing_range(step.length, unit, most, fails)
        if not self._judge.is_over():
            words.say_length(number + 1, found, self._said)

    def _vary_place(self, script: Script, unit: int) -> None:
        placed = [one for one in script.steps if one.length]
        if not placed:
            return
        offset = placed[0].offset
        highest = max(one.offset + one.length for one in placed) - offset
        fails = self._asked(
            lambda value: variants.moved(script, value - offset), 0, "place", f"{offset:,}"
        )
        known: dict[int, bool] = {offset: True}
        for one in probes(offset, unit, script.size - highest):
            if (failed := fails(one)) is not None:
                known[one] = failed
        if not self._judge.is_over() and len(known) > 2:
            edge = self._edge(known, unit, fails) if places_of(known).rule == "mixed" else ""
            words.say_places(script, dict(sorted(known.items())), edge, self._said)

    def _edge(self, known: dict[int, bool], unit: int, fails: Callable[[int], bool | None]) -> str:
        """Return from or up to which offset it fails, if one offset divides what was tried."""
        failing = [one for one, failed in known.items() if failed]
        right = [one for one, failed in known.items() if not failed]
        step = max(unit, 512)
        if max(right) < min(failing):
            good, bad = min(failing), max(right)
        elif max(failing) < min(right):
            good, bad = max(failing), min(right)
        else:
            return ""
        while abs(good - bad) > step:
            middle = (good + bad) // 2 // step * step
            middle = middle if middle not in (good, bad) else min(good, bad) + step
            failed = fails(middle)
            if failed is None or not min(good, bad) < middle < max(good, bad):
                break
            known[middle] = failed
            good, bad = (middle, bad) if failed else (good, middle)
        if bad < good:
            return f"at offset {good:,} or above ({bad:,} is right)"
        return f"at offset {good:,} or below ({bad:,} is right)"


def _longest(script: Script) -> list[int]:
    """Return the places of the steps whose length is varied."""
    placed = [number for number, one in enumerate(script.steps) if one.length]
    return placed[:_LENGTHS]


def _not_reproduced(scripts: Sequence[tuple[str, Script]], judge: Judge) -> str:
    """Return what it says that no script failed."""
    most = max((len(script.steps) for _, script in scripts), default=0)
    if judge.is_over():
        return (
            f"Tried on fresh volumes: it did not fail within the time ({judge.count} plays of the"
            " recorded requests, one at a time)."
        )
    return (
        f"Tried on fresh volumes: the {most} recorded requests, sent one at a time, did not fail"
        f" ({judge.count} plays). So it may need requests in flight together, a moment in time,"
        " other contents, or something that the record does not have."
    )


def not_tried(why: str) -> CaseExperiment:
    """Return that nothing was tried, and why."""
    return CaseExperiment("", 0, "", NOT_TRIED, f"Not tried: {why}.")


__all__ = ["Bench", "Experiment", "candidates", "not_tried", "with_step"]
