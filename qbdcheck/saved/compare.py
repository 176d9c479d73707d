"""Compare two runs: what fails now, what no longer does, what is slower. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from qbdcheck.saved.runs import SavedRun, Unit
from qbdcheck.verdict import Verdict

SLOWER_TIMES = 1.5
SLOWER_S = 0.5
"""A case is slower if it takes 1.5 times as long and half a second longer."""


@dataclass(frozen=True)
class Change:
    """A case that is listed in a comparison. ``said`` says what is to be known of it."""

    case_id: str
    image_format: str
    said: str


@dataclass
class Comparison:
    """The changes from one run to a later one, each list by case and format."""

    before: SavedRun
    after: SavedRun
    new_failures: list[Change] = field(default_factory=list)
    """Bad in the later run, and not in the earlier one, where it passed, did not run, or was not
    selected."""
    still_failing: list[Change] = field(default_factory=list)
    flaky: list[Change] = field(default_factory=list)
    """Cases of which repetitions in one of the runs passed, and others failed."""
    fixed: list[Change] = field(default_factory=list)
    slower: list[Change] = field(default_factory=list)
    newly_not_run: list[Change] = field(default_factory=list)
    """Cases that ran in the earlier run, and are not run, or not selected, in the later one."""

    @property
    def lists(self) -> dict[str, list[Change]]:
        """The lists by their names, the most important first."""
        return {
            "new failures": self.new_failures,
            "still failing": self.still_failing,
            "flaky": self.flaky,
            "fixed": self.fixed,
            "slower": self.slower,
            "newly not run": self.newly_not_run,
        }


def compare(before: SavedRun, after: SavedRun) -> Comparison:
    """Return the changes from `before` to `after`."""
    made = Comparison(before, after)
    new_units = after.units
    names = _renamed(before.units, new_units)
    old_units = {names.get(key, key): unit for key, unit in before.units.items()}
    old_names = {new: old[0] for old, new in names.items()}
    for key in sorted({*old_units, *new_units}):
        for name, said in _changes(old_units.get(key), new_units.get(key), after):
            renamed = f" (its name was {old_names[key]})" if key in old_names else ""
            made.lists[name].append(Change(*key, f"{said}{renamed}"))
    return made


_Key = tuple[str, str]


def _renamed(old: Iterable[_Key], new: Iterable[_Key]) -> dict[_Key, _Key]:
    """Return the later key of each case that has kept its number, but not its name."""
    old, new = set(old), set(new)
    added = {
        (_number(case), image_format): (case, image_format) for case, image_format in new - old
    }
    places = {key: (_number(key[0]), key[1]) for key in old - new}
    return {key: added[place] for key, place in places.items() if place in added}


def _number(case_id: str) -> str:
    return case_id.partition("_")[0]


def _changes(old: Unit | None, new: Unit | None, after: SavedRun) -> Iterator[tuple[str, str]]:
    """Yield the name of each list that a case belongs to, and what is to be said of it."""
    flaky = [unit.rate for unit in (old, new) if unit is not None and unit.is_flaky]
    if flaky:
        yield "flaky", " then ".join(flaky)
    was_bad = old is not None and old.verdict.is_bad
    if new is not None and new.verdict.is_bad:
        rate = f" ({new.rate})" if new.rate else ""
        if not was_bad or old is None:
            yield "new failures", f"{_word(old)}, now {new.verdict.value}: {new.why}{rate}"
        else:
            other = f" (before: {old.why})" if old.why != new.why else ""
            yield "still failing", f"{new.why}{other}{rate}"
        return
    if old is None or not _ran(old):
        return
    if new is None or not _ran(new):
        yield "newly not run", f"{_word(old)}, now {_why_not(new, after)}"
    elif was_bad:
        yield "fixed", f"was: {old.why}"
    elif new.elapsed_s > old.elapsed_s * SLOWER_TIMES and new.elapsed_s > old.elapsed_s + SLOWER_S:
        yield "slower", f"{old.elapsed_s:.1f} s, now {new.elapsed_s:.1f} s"


def _ran(unit: Unit) -> bool:
    return unit.verdict is not Verdict.NOT_RUN


def _word(unit: Unit | None) -> str:
    return "was not selected" if unit is None else f"was {unit.verdict.value}"


def _why_not(unit: Unit | None, run: SavedRun) -> str:
    if unit is not None:
        return f"not run: {unit.why}"
    end = run.tally.end
    if end is None or end.interrupted or end.stopped:
        return "not reached: the run ended early"
    return "not selected"
