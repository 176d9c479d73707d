"""What trials mean, in words: what the failure needs, and what makes no difference to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oracles.scripts import STEPS, Script, Step
from qbdcheck.kit.experiment.outcomes import FAILS, RIGHT, SOMETIMES, Tried
from qbdcheck.kit.experiment.shapes import Explained, Shape, in_words
from qbdcheck.kit.experiment.thresholds import Range
from qbdcheck.kit.experiment.variants import FRESH, SAME_PLACE, STEP, TWICE
from qbdcheck.report.events import Trial

_EXAMPLES = 4
_SURE = 8
"""Fewer lengths and places that all fail prove little."""
_REQUESTS = {
    "write": "write",
    "zero": "write zeroes",
    "discard": "discard",
    "read": "read",
    "status": "block status",
    "flush": "flush",
    "reopen": "close the connection and open it again",
    "reconnect": "lose the connection and open it again",
    "restart": "stop the server in its normal way and start it again",
    "kill": "kill the server and start it again",
    "power-cut": "cut the power and start the server again",
    "snapshot": "take a snapshot",
    "wait": "wait",
}


@dataclass
class Said:
    """Conditions in words; each is about the smallest script.

    :ivar indifferent: what makes no difference, with the step, or the place between steps.
    """

    needed: list[str] = field(default_factory=list)
    indifferent: list[tuple[str, str]] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)

    def no_difference(self) -> tuple[str, ...]:
        """Return what makes no difference, each once, with all the steps of which it was tried."""
        found: dict[str, list[str]] = {}
        for what, where in self.indifferent:
            found.setdefault(what, []).append(where)
        return tuple(
            f"{what} ({_joined(where)})" if any(where) else what for what, where in found.items()
        )


def _joined(where: Sequence[str]) -> str:
    """Return ``step 1``, or ``steps 1, 2``, or the places between steps."""
    steps = [one.removeprefix("step ") for one in where if one.startswith("step ")]
    others = [one for one in where if one and not one.startswith("step ")]
    words = [f"step{'s' * (len(steps) > 1)} {', '.join(steps)}"] if steps else []
    return ", ".join([*words, *others])


def step_in_words(step: Step) -> str:
    """Return a step as people say it: ``write 4,096 bytes at offset 0, with FUA``."""
    words = _REQUESTS.get(step.do, step.do)
    if "offset" in STEPS[step.do]:
        words += f" {step.length:,} bytes at offset {step.offset:,}"
    if step.do == "resize":
        words += f" to {step.size:,} bytes"
    flags = [name for key, name in (("fua", "FUA"), ("no_hole", "NO_HOLE")) if getattr(step, key)]
    words += f", with {' and '.join(flags)}" if flags else ""
    words += f", all bytes 0x{step.fill:02x}" if step.fill >= 0 else ""
    words += f" {step.ms} ms" if step.do == "wait" else ""
    return words + (f", on connection {step.connection}" if step.connection > 1 else "")


def say_trials(trials: Sequence[Trial], said: Said) -> None:
    """Add what variants tell: those of one factor of one step make one line."""
    groups: dict[tuple[int, str], list[Trial]] = {}
    for one in trials:
        groups.setdefault((one.step, one.factor), []).append(one)
    for (step, factor), group in groups.items():
        if factor != STEP:
            _say_group(f"step {step}: " if step else "", factor, group, said)


def _say_group(whose: str, factor: str, group: Sequence[Trial], said: Said) -> None:
    fails = [one.change for one in group if one.outcome == FAILS]
    right = [one.change for one in group if one.outcome == RIGHT]
    for one in group:
        if one.outcome == SOMETIMES:
            said.unclear.append(f"{whose}{one.change}: failed {one.failed} of {one.plays} times")
    as_is = group[0].as_is
    is_between = as_is.startswith("no ")
    if is_between:
        whose = ""
    if factor == FRESH:
        _say_fresh(group[0], said)
    elif factor == TWICE and right:
        why = "the second one repairs it, or the number of requests counts"
        said.needed.append(f"{whose}once (passes: twice; {why})")
    elif right and fails:
        said.needed.append(
            f"{whose}{as_is}, or {' or '.join(map(_bare, fails))}; passes: {', '.join(right)}"
        )
    elif right:
        said.needed.append(f"{whose}{as_is} (passes: {', '.join(right)})")
    elif fails:
        step = whose.removesuffix(": ")
        if is_between:
            what, _, where = factor.partition(" before ")
            said.indifferent.append((what, f"before {where}"))
        else:
            name = factor if factor in ("FUA", "NO_HOLE") else _varied(factor, fails)
            said.indifferent.append((name, step))


def _say_fresh(trial: Trial, said: Said) -> None:
    """Add what came of other contents before; on an empty volume, zeroes cannot be seen."""
    if trial.outcome == FAILS:
        said.indifferent.append((trial.change, ""))
    elif trial.outcome == RIGHT and "never" in trial.change:
        said.needed.append(f"{trial.as_is} ({trial.change}: passes, or it cannot be seen)")
    elif trial.outcome == RIGHT:
        said.needed.append(f"{trial.as_is} (passes: {trial.change})")


def _bare(change: str) -> str:
    return change.removesuffix(" instead")


def _varied(factor: str, fails: Sequence[str]) -> str:
    if factor == TWICE:
        return "done twice"
    if factor == SAME_PLACE:
        return "the place relative to the other steps"
    return ", ".join(fails)


def say_shape(
    script: Script, number: int, lengths: Range, found: Explained, said: Said, *, is_cut: bool
) -> None:
    """Add what other lengths and places of a step tell; ``number`` is that of the step, from 1.

    :param lengths: what was found out first, with the place as it is.
    :param is_cut: the time was over before all had been tried.
    """
    others = sum(one.length > 0 for one in script.steps) > 1
    whose = f"step {number}: "
    together = ", the other steps moved with it" if others else ""
    count = len(found.samples)
    if all(found.samples.values()):
        if count >= _SURE:
            said.indifferent.append(
                (f"length and place, {count} tried{together}", f"step {number}")
            )
    elif found.rule is not None and not is_cut:
        said.needed.append(
            f"{whose}it {in_words(found.rule)} ({count} lengths and places tried{together})"
        )
    else:
        if lengths.is_regular and (edges := _edges(lengths)):
            said.needed.append(f"{whose}at this place, {edges}")
        fails = "; ".join(_shapes(found.samples, failed=True)[:_EXAMPLES])
        right = "; ".join(_shapes(found.samples, failed=False)[:_EXAMPLES])
        said.unclear.append(f"{whose}fails with {fails}; right with {right}")


def say_beginning(number: int, found: Explained, said: Said) -> None:
    """Add where a step must begin, if only other places were tried with its length as it is."""
    if found.rule and len(found.samples) >= _SURE:
        said.needed.append(
            f"step {number}: with this length, it {in_words(found.rule)} ({len(found.samples)}"
            " places tried)"
        )


def say_size(number: int, found: Explained, said: Said) -> None:
    """Add what other new sizes of a resize tell."""
    count = len(found.samples)
    if all(found.samples.values()):
        if count >= _SURE:
            said.indifferent.append((f"the new size, {count} tried", f"step {number}"))
    elif found.rule:
        said.needed.append(
            f"step {number}: the new size {in_words(found.rule)} ({count} sizes tried)"
        )
    else:
        fails = [f"{size:,}" for (size, _), failed in found.samples.items() if failed]
        right = [f"{size:,}" for (size, _), failed in found.samples.items() if not failed]
        said.unclear.append(
            f"step {number}: the new size: fails with {', '.join(fails[:_EXAMPLES])}; right with"
            f" {', '.join(right[:_EXAMPLES])}"
        )


def _edges(found: Range) -> str:
    edges = []
    if found.too_small is not None:
        edges.append(f"at least {found.least:,} bytes ({found.too_small:,} are right)")
    if found.too_large is not None:
        edges.append(f"at most {found.most:,} bytes ({found.too_large:,} are right)")
    return " and ".join(edges)


def _shapes(samples: Mapping[Shape, bool], *, failed: bool) -> list[str]:
    """Return lengths and places that failed, or that were right, in words; the simple ones first.

    Numbers with few digits other than 0 in base 16 are simple.
    """
    chosen = [one for one, fail in samples.items() if fail is failed]
    chosen.sort(key=lambda one: sum(len(f"{number:x}".strip("0")) for number in one))
    return [f"{length:,} bytes at {offset:,}" for offset, length in chosen]


def counted(kind: str, failed: int, plays: int) -> str:
    """Return what it means that further requests before the steps make it right."""
    return (
        f"with 1 to {plays} further {_REQUESTS[kind]}s to another place before the steps, it"
        f" failed in {failed} of {plays} scripts: the bug strikes by chance, or it counts requests."
        " So single changes prove nothing, and nothing else was varied"
    )


def sentence_of(
    smallest: Script,
    rate: Tried,
    source: str,
    trials: Sequence[Trial] | None,
    *,
    is_counted: bool = False,
) -> str:
    """Return the first sentence on an experiment whose script failed.

    :param trials: what was tried, if there was no time to leave out all that is not needed.
    :param is_counted: the number of requests counts.
    """
    count = len(smallest.steps)
    what = "this request alone fails" if count == 1 else f"these {count} steps alone fail"
    told = f"Tried again on fresh volumes: {what} {rate.failed} of {rate.plays} times"
    if rate.failed < rate.plays:
        told += ". It depends on timing or chance, so nothing was varied"
    elif is_counted:
        told += "; that depends on chance or on the number of requests"
    elif count > 1 and trials is None:
        told += ", and none of them can be left out"
    elif count > 1 and trials is not None:
        told += _left_out(trials)
    return f"{told}. They were made of {source}." if count > 1 else f"{told}. It is from {source}."


def _left_out(trials: Sequence[Trial]) -> str:
    """Return which steps are needed, of those that were left out one at a time."""
    tried = [one for one in trials if one.factor == STEP]
    if not tried:
        return "; there was no time to find out which of them can be left out"
    needed = [f"step {one.step}" for one in tried if one.outcome == RIGHT]
    if not needed:
        return f"; each of {len(tried)} can be left out alone, there was no time for more"
    return f"; of {len(tried)} that were left out one at a time, it needs {_joined(needed)}"
