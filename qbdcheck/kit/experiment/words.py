"""What trials mean, in words: what the failure needs, and what makes no difference to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oracles.scripts import STEPS, Script, Step
from qbdcheck.kit.experiment.outcomes import FAILS, OTHER, RIGHT, SOMETIMES, Tried
from qbdcheck.kit.experiment.thresholds import Places, Range, places_of
from qbdcheck.kit.experiment.variants import FRESH, SAME_PLACE, STEP
from qbdcheck.report.events import Trial

_EXAMPLES = 4
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
    """Conditions in words; each is about the smallest script."""

    needed: list[str] = field(default_factory=list)
    indifferent: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


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
    if is_between or factor == FRESH:
        whose = ""
    if right and fails:
        said.needed.append(
            f"{whose}{as_is}, or {' or '.join(map(_bare, fails))}; right: {', '.join(right)}"
        )
    elif right:
        said.needed.append(f"{whose}{as_is} (right: {', '.join(right)})")
    elif fails:
        name = factor if is_between or factor in ("FUA", "NO_HOLE") else _varied(factor, fails)
        said.indifferent.append(f"{whose}{name}")


def _bare(change: str) -> str:
    return change.removesuffix(" instead")


def _varied(factor: str, fails: Sequence[str]) -> str:
    if factor == "a second time":
        return "done twice"
    if factor == SAME_PLACE:
        return f"the place ({', '.join(fails)})"
    return ", ".join(fails) if factor == "kind" else f"{factor} ({', '.join(fails)})"


def say_length(number: int, found: Range, said: Said) -> None:
    """Add what the lengths of a step tell; ``number`` is that of the step, from 1."""
    whose = f"step {number}: "
    if not found.is_regular:
        _say_irregular(f"{whose}length", found.known, said)
        return
    limits = []
    if found.too_small is not None:
        limits.append(f"at least {found.least:,} bytes long ({found.too_small:,} are right)")
    if found.too_large is not None:
        limits.append(f"at most {found.most:,} bytes long ({found.too_large:,} are right)")
    if limits:
        said.needed.append(f"{whose}{', and '.join(limits)}")
    elif found.least < found.most:
        said.indifferent.append(f"{whose}length ({found.least:,} to {found.most:,} bytes)")


def _say_irregular(whose: str, known: Mapping[int, bool], said: Said) -> None:
    places = places_of(known)
    if places.rule == "multiples":
        said.needed.append(f"{whose} a multiple of {places.unit:,} bytes ({_examples(known)})")
    elif places.rule == "not multiples":
        said.needed.append(f"{whose} not a multiple of {places.unit:,} bytes ({_examples(known)})")
    else:
        said.unclear.append(f"{whose}: {_examples(known)}")


def say_places(script: Script, known: Mapping[int, bool], edge: str, said: Said) -> None:
    """Add what moving all requests tells.

    :param known: by the offset of the first request: whether it failed.
    :param edge: where failures begin or end, in words, if there is one such offset.
    """
    requests = sum(one.length > 0 for one in script.steps)
    subject = "the request begins" if requests == 1 else "the first request begins"
    if requests > 1:
        subject = f"all moved together, {subject}"
    places: Places = places_of(known)
    match places.rule:
        case "any":
            said.indifferent.append(f"the place on the volume ({len(known)} places tried)")
        case "multiples":
            said.needed.append(f"{subject} at a multiple of {places.unit:,} ({_examples(known)})")
        case "not multiples":
            said.needed.append(
                f"{subject} not at a multiple of {places.unit:,} ({_examples(known)})"
            )
        case _ if edge:
            said.needed.append(f"{subject} {edge}")
        case _:
            said.unclear.append(f"{subject} at {_examples(known)}")


def _examples(known: Mapping[int, bool]) -> str:
    told = []
    for fail, word in ((True, "fails"), (False, "right")):
        values = [one for one, failed in known.items() if failed is fail]
        if values:
            shown = ", ".join(f"{one:,}" for one in values[:_EXAMPLES])
            told.append(f"{word}: {shown}{', ...' * (len(values) > _EXAMPLES)}")
    return "; ".join(told)


def sentence_of(smallest: Script, rate: Tried, source: str) -> str:
    """Return the first sentence on an experiment whose script failed."""
    count = len(smallest.steps)
    steps = "one step" if count == 1 else f"{count} steps, each of them needed,"
    start = f"Tried on fresh volumes: {steps} of {source} fail"
    ending = "s" if count == 1 else ""
    if rate.failed == rate.plays:
        return f"{start}{ending} {rate.failed} of {rate.plays} times."
    return (
        f"{start}{ending} {rate.failed} of {rate.plays} times: it depends on timing or chance, so "
        "nothing was varied."
    )


def other_outcomes(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield what could not be judged."""
    for one in trials:
        if one.outcome == OTHER:
            yield f"step {one.step}: {one.change}: {one.seen}"
