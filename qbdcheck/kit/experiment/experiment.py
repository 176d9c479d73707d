"""An experiment on one failure, within a limit of time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from oracles.damage import Damage, What
from oracles.finding import Finding, telling
from oracles.life import IN_FLIGHT, NOT_JUDGED
from oracles.recorded import asked_by, fits, scripts_of
from oracles.scripts import Script, Step
from qbdcheck import clock
from qbdcheck.kit.experiment import variants, words
from qbdcheck.kit.experiment.bench import Bench
from qbdcheck.kit.experiment.outcomes import FAILS, RIGHT, Judge, Tried, kind_of
from qbdcheck.kit.experiment.script_search import first_failing, smallest, with_step
from qbdcheck.kit.experiment.shapes import (
    Shape,
    explain,
    of_beginnings,
    of_sizes,
    pool_of,
    properties,
    sizes_around,
)
from qbdcheck.kit.experiment.thresholds import Range, failing_range, refined
from qbdcheck.machine_speed import Limit
from qbdcheck.report.events import CaseExperiment, Trial

LIMIT_S = 20.0
"""Seconds of work of an experiment."""
_SEARCH_S = 10.0
"""Seconds of work to find a script that fails, and to make it small."""
_PATIENCE = 3.0
"""On a machine that is starved, an experiment takes so many times longer at most."""
_PLAYS = 3
_LONGEST = 8 << 20
_SECTOR = 512
_FURTHER, _FIRST_FURTHER = 8, 3
"""Further requests before the steps: at most, and how many are tried if each of them fails."""
_LENGTHS = 2
"""Steps whose length and place are varied."""
_TRIALS = 36
"""Trials of other lengths and places of a step."""
_NOT_PLAYED = (Damage.CHANGING, Damage.METADATA, Damage.FILE, Damage.SIZE, Damage.NOT_READY)
_CALLS_DATA_ZERO = re.compile(r"\bzero\b")
"""The only wrong block status that a script shows: its last step compares zeroes with the data."""
_OTHER_STATUS = "a script can show data that is called zero, and no other wrong block status"
_NO_REQUEST = Step("read", 0, 0)
"""A step that sends nothing."""
_WITHOUT_STEPS = (
    "without any of the steps it fails too: the reads of the whole volume at the end, or the"
    " writes before the steps, are enough, so nothing was varied"
)
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
    if wanted is Damage.STATUS and not _is_shown(finding):
        return wanted, found
    recorded = next((one for one in (finding, *findings) if one.record is not None), None)
    if wanted not in _NOT_PLAYED and recorded is not None and recorded.record is not None:
        place = [finding.place] if finding.place[1] else []
        asks = wanted is Damage.STATUS
        record = recorded.record
        if (read := asked_by(finding.request)) is not None and not asks:
            record = record.then(read)
        found += scripts_of(record, place, with_status=asks)
    return wanted, found


def _is_shown(finding: Finding) -> bool:
    """Return whether a script can show a wrong block status."""
    return "dirty" not in finding.text and _CALLS_DATA_ZERO.search(finding.text) is not None


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

    def run(
        self, scripts: Sequence[tuple[str, Script]], lacking: Sequence[str] = ()
    ) -> CaseExperiment:
        """Return what came of it.

        :param lacking: what the case had and no script has, from `lacking`.
        """
        found = first_failing(scripts, self._judge)
        if found is None:
            return self._made(NOT_REPRODUCED, _not_reproduced(scripts, self._judge, lacking))
        source, script = found
        script = smallest(script, self._judge)
        is_smallest = not self._judge.is_over()
        script = self._judge.with_failing_seed(script)
        self._judge.is_over = lambda: self._is_over(self._limit)
        rate = self._judge.rate(script, _PLAYS)
        counted = None
        if not rate.failed:  # it failed once before
            rate = Tried("sometimes", rate.plays + 1, 1, saw=self._judge.last_saw)
        if rate.outcome == FAILS and self._judge.fails(replace(script, steps=(_NO_REQUEST,))):
            self._said.unclear.append(_WITHOUT_STEPS)
        elif rate.outcome == FAILS:
            counted = by_number(script, self._bench.alignment, self._judge)
            if counted is None:
                self._vary(script)
            else:
                self._said.unclear.append(words.counted(*counted))
        sentence = words.sentence_of(
            script, rate, source, None if is_smallest else self._trials, is_counted=bool(counted)
        )
        made = self._made(REPRODUCED, sentence)
        return replace(
            made,
            source=source,
            script=script.to_yaml(),
            steps=tuple(words.step_in_words(one) for one in script.steps),
            plays=rate.plays,
            failed=rate.failed,
            saw=rate.saw,
            is_complete=made.is_complete and is_smallest,
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
            indifferent=said.no_difference(),
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
        for number in _placed(script)[:_LENGTHS]:
            self._vary_shape(script, number, unit)
        for number, step in enumerate(script.steps):
            if step.do == "resize":
                self._vary_size(script, number, max(unit, _SECTOR))
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

    def _vary_shape(self, script: Script, number: int, unit: int) -> None:
        """Find out which lengths and places of a step fail; the other steps move with it."""
        step = script.steps[number]
        low, high = _room(script, number)
        longest = min(high - step.offset, _LONGEST)

        def fails(shape: Shape) -> bool | None:
            changed = variants.shaped(script, number, *shape)
            tried = None if changed is None else self._judge.tried(changed, plays=1)
            if tried is None:
                return None
            change = f"{shape[1]:,} bytes at offset {shape[0]:,}"
            as_is = f"{step.length:,} bytes at offset {step.offset:,}"
            self._note(number + 1, "length and place", as_is, change, tried)
            return {FAILS: True, RIGHT: False}.get(tried.outcome)

        coarse = max(unit, _SECTOR)

        def fails_with(length: int) -> bool | None:
            return fails((step.offset, length))

        found = failing_range(step.length, coarse, longest, fails_with)
        if found.is_regular and coarse > unit:
            found = refined(found, unit, fails_with)
        known = {(step.offset, length): failed for length, failed in found.known.items()}
        lengths = edges_of(found, script, number)
        pool = pool_of((step.offset, step.length), unit, low, high, _LONGEST)
        explained = explain(known, properties(lengths, script.size), pool, fails, _TRIALS)
        is_cut = self._judge.is_over()
        words.say_shape(script, number + 1, found, explained, self._said, is_cut=is_cut)
        if explained.rule is None and not is_cut:
            alike = {one: failed for one, failed in explained.samples.items()
                     if one[1] == step.length}  # fmt: skip
            pool = [one for one in pool if one[1] == step.length]
            begun = explain(alike, of_beginnings(), pool, fails, _TRIALS // 2)
            words.say_beginning(number + 1, begun, self._said)

    def _vary_size(self, script: Script, number: int, unit: int) -> None:
        """Find out which new sizes fail."""
        step = script.steps[number]

        def fails(shape: Shape) -> bool | None:
            changed = with_step(script, number, replace(step, size=shape[0]))
            tried = self._judge.tried(changed, plays=1) if fits(changed) else None
            if tried is None:
                return None
            self._note(number + 1, "new size", f"{step.size:,} bytes", f"{shape[0]:,}", tried)
            return {FAILS: True, RIGHT: False}.get(tried.outcome)

        sizes = [one.size for one in script.steps[:number] if one.do == "resize"]
        before = sizes[-1] if sizes else script.size
        pool = [*sizes_around(step.size, unit), *sizes_around(before, unit)]
        found = explain({(step.size, 0): True}, of_sizes(before), pool, fails, _TRIALS // 2)
        words.say_size(number + 1, found, self._said)


def by_number(script: Script, unit: int, judge: Judge) -> tuple[str, int, int] | None:
    """Return whether it is the number of requests before the damage that counts.

    Further requests to a place that no step touches come before the steps. If it is right with some
    of them, the bug counts requests or strikes by chance, and no other condition can be found by
    single changes, since these change the number, too.

    :return: the kind of the requests, in how many scripts it failed, and of how many; None if it
        failed in each of the first.
    """
    length = max(unit, _SECTOR)
    last = (script.size - length) // length * length
    places = [
        one for one in (last, last // 2 // length * length, 0) if _is_free(script, one, length)
    ]
    for kind in ("write", "read") if places else ():
        outcomes: list[str] = []
        for count in range(1, _FURTHER + 1):
            if count > _FIRST_FURTHER and RIGHT not in outcomes:
                break
            extra = [Step(kind, places[0], length)] * count
            changed = replace(script, steps=(*extra, *script.steps))
            tried = judge.tried(changed, plays=1) if fits(changed) else None
            if tried is None:
                break
            outcomes.append(tried.outcome)
        if RIGHT in outcomes:
            return kind, outcomes.count(FAILS), len(outcomes)
    return None


def _is_free(script: Script, offset: int, length: int) -> bool:
    return offset >= 0 and not any(
        one.length and one.offset < offset + length and offset < one.offset + one.length
        for one in script.steps
    )


def edges_of(found: Range, script: Script, number: int) -> list[tuple[int, bool, str]]:
    """Return the edges of failing lengths, each with whether it is a lower one, and a doubt.

    There is a doubt if the step begins or ends to touch another step at the same length.
    """
    edges = []
    if found.too_small is not None:
        doubt = _touched(script, number, found.too_small, found.least)
        words = f" or long enough to reach or cover {doubt}" if doubt else ""
        edges.append((found.least, True, f"({found.too_small:,}: right){words}"))
    if found.too_large is not None:
        doubt = _touched(script, number, found.most, found.too_large)
        words = f" or too short to reach or cover {doubt}" if doubt else ""
        edges.append((found.most, False, f"({found.too_large:,}: right){words}"))
    return edges


def _touched(script: Script, number: int, shorter: int, longer: int) -> str:
    """Return the first step that a step touches if it has the longer length only; else ""."""
    start = script.steps[number].offset
    for at, one in enumerate(script.steps):
        edges = (one.offset, one.offset + one.length)
        if at != number and one.length and any(shorter < edge - start + 1 <= longer + 1
                                               for edge in edges):  # fmt: skip
            return f"step {at + 1}"
    return ""


def _placed(script: Script) -> list[int]:
    """Return the places of the steps that have a length."""
    return [number for number, one in enumerate(script.steps) if one.length]


def _room(script: Script, number: int) -> tuple[int, int]:
    """Return the lowest offset of a step, and its highest end, if the others move with it."""
    step = script.steps[number]
    others = [one for at, one in enumerate(script.steps) if one.length and at != number]
    size = min([script.size, *(one.size for one in script.steps if one.do == "resize")])
    below = max([0, *(step.offset - one.offset for one in others)])
    above = max([0, *(one.offset + one.length - step.offset - 1 for one in others)])
    return below, size - max(0, above - step.length)


def lacking(findings: Sequence[Finding]) -> list[str]:
    """Return what the requests before a failure had that no script of them has."""
    if not findings:
        return []
    finding = findings[telling(findings, 1)[0]]
    moments = (*finding.life, *(finding.record.moments if finding.record else ()))
    kinds = {one.kind for one in moments}
    is_together = any(one.text == NOT_JUDGED or one.text.endswith(IN_FLIGHT) for one in moments)
    is_stamped = finding.expected is None or finding.expected.what in (What.STAMP, What.ZEROES)
    found = {
        "requests in flight together": is_together,
        "faults and requests that failed": bool(kinds & {"fault", "error"}),
        "snapshots or clones": "snapshot" in kinds,
        "other contents than the stamps of a script": not is_stamped,
    }
    return [what for what, had in found.items() if had]


def _not_reproduced(scripts: Sequence[tuple[str, Script]], judge: Judge, had: Sequence[str]) -> str:
    """Return what it says that no script failed."""
    about, longest = max(scripts, key=lambda one: len(one[1].steps))
    asked = f"{about} ({len(longest.steps)} steps, one at a time)"
    if judge.is_over():
        return (
            f"Tried on fresh volumes: it did not fail within the time ({judge.count} plays, with"
            f" {asked})."
        )
    needs = (
        f"The case had what these steps do not have: {', '.join(had)}. The failure may need it, or"
        " a moment in time."
        if had
        else "So the failure needs something that these steps do not have, such as requests in"
        " flight together, a moment in time, or other contents."
    )
    return f"Tried on fresh volumes: {asked} did not fail in {judge.count} plays. {needs}"


def not_tried(findings: Sequence[Finding]) -> CaseExperiment:
    """Return that there is no script to try, and why."""
    kinds = [one.damage for one in findings]
    if not kinds:
        why = "the failure is not about the answer to a recorded request"
    elif kinds[0] in _NOT_PLAYED:
        why = f"a script of requests cannot show this kind of failure ({kinds[0].value})"
    elif kinds[0] is Damage.STATUS and not _is_shown(findings[0]):
        why = _OTHER_STATUS
    elif all(one.record is None for one in findings):
        why = "the requests before the failure were not recorded"
    else:
        why = "the requests do not fit into a volume of 64 MiB, or one is beyond its end"
    return CaseExperiment("", 0, "", NOT_TRIED, f"Not tried again: {why}.")
