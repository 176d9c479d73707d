"""Targets without a file: `mutant:ID` is the reference target with one seeded bug.

`mutant:ID@TARGET` has the bug in another target that runs the reference backend, such as
`mutant:flush-noop@reference-file`. Knobs follow: `mutant:ID@TARGET:rate=1000:seed=3`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mutants import oddities
from mutants.catalogue import catalogue, is_control, layer_argument
from mutants.controls import Control, Legal
from mutants.knobs import KnobError, split
from mutants.mutant import Mutant
from mutants.oddities import SIZES, Oddity, OddityError, control_of
from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND, ROOT
from qbdcheck.suggestions import suggestion
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.description import Description

PREFIX = "mutant:"
COUNT = "requests"
"""A key that is not a knob of the bug: the directory where the servers count their requests."""
HAS = "has"
"""A key that is not a knob: the oddities of ``control-legal`` (mutants/oddities.py)."""
_COUNTER = "mutants.requests:RequestCount:directory="
_SERVER = "reference_backend serve"
"""Part of the start command of every target that runs the reference backend."""
_MEMORY = "serve --memory"


class MutantTarget(NamedTuple):
    """The parts of ``ID[@TARGET][:KEY=VALUE...]``; ``knobs`` include the key ``requests``."""

    mutant: type[Mutant]
    base: str
    knobs: list[str]


def profile(target: str, targets_dir: Path, suites_dir: Path = ROOT / "suites") -> Description:
    """Return the profile of a target: a name, the path of a file, or ``mutant:ID...``.

    :raise UsageError: there is no such target (names the nearest), its file is wrong, or a knob
        is.
    """
    if not target.startswith(PREFIX):
        return descriptions.load(descriptions.find(target, targets_dir), suites_dir)
    mutant, base, pairs = parse(target.removeprefix(PREFIX))
    reference = _base_profile(mutant, base, targets_dir)
    counts = [pair for pair in pairs if pair.startswith(f"{COUNT}=")]
    knobs = [pair for pair in pairs if pair not in counts]
    has = _oddities(knobs)
    bugs = [pair for pair in knobs if not pair.startswith(f"{HAS}=")]
    layers = [":".join([layer_argument(mutant), *bugs])]
    layers += [f"mutants.{one.control}" for one in has if one.control]
    for pair in counts:
        directory = Path(pair.partition("=")[2])
        if not directory.is_dir():
            raise UsageError(f"{mutant.id}: {pair}: there is no such directory")
        layers.insert(0, f"{_COUNTER}{directory.absolute()}")
    of_base = "" if base == mutant.base else f"@{base}"
    return reference.model_copy(
        update={
            "name": ":".join([f"{PREFIX}{mutant.id}{of_base}", *knobs]),
            # the sizes of an oddity exclude those that a case chooses
            "options": {} if any(one.factor in SIZES for one in has) else reference.options,
            "waives": [*reference.waives, *_waived(mutant, has)],
            "about": f"the reference backend with a bug: {mutant.breaks}",
            "start": " ".join(
                [
                    # options of a case come later, and so override those of an oddity
                    (reference.start or "").replace(
                        "{options}", " ".join([*(one.arguments for one in has), "{options}"])
                    ),
                    *(f"--layer {layer}" for layer in layers),
                ]
            ),
        }
    )


def _waived(mutant: type[Mutant], has: Sequence[Oddity]) -> list[str]:
    """Return the policies that a control or its oddities do not keep to."""
    controls = [one for one in (mutant, *map(control_of, has)) if one and issubclass(one, Control)]
    return sorted({policy for one in controls for policy in one.waives})


def _oddities(pairs: Sequence[str]) -> list[Oddity]:
    """Return the oddities of ``has=NAME+NAME`` among pairs that `parse` has checked."""
    return [one for pair in pairs if pair.startswith(f"{HAS}=") for one in oddities.parse(
        pair.partition("=")[2])]  # fmt: skip


def _base_profile(mutant: type[Mutant], base: str, targets_dir: Path) -> Description:
    """Return the profile of the target that gets the bug.

    :raise UsageError: it does not exist, is another backend, or has a store without this bug.
    """
    where = f"{PREFIX}{mutant.id}@{base}"
    try:
        found = descriptions.load(descriptions.find(base, targets_dir))
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    start = found.start or ""
    if _SERVER not in start:
        raise UsageError(f"{where}: {base} does not run the reference backend")
    if mutant.memory_only and _MEMORY not in start:
        raise UsageError(f"{where}: this bug is in the memory store, which {base} does not use")
    return found


def parse(text: str) -> MutantTarget:
    """Return the parts of ``ID[@TARGET][:KEY=VALUE...]``.

    :raise UsageError: there is no such mutant, or it does not have the knob or value.
    """
    place, *pairs = text.split(":")
    wanted, at, base = place.partition("@")
    known = catalogue()
    if wanted not in known:
        near = suggestion(wanted, known)
        hint = (
            f"did you mean '{near}'?" if near else f"{COMMAND} --mutants -l lists all {len(known)}"
        )
        raise UsageError(f"unknown mutant '{wanted}'; {hint}")
    if at and not base:
        raise UsageError(
            f"{PREFIX}{place}: write a target after @, such as {wanted}@reference-file"
        )
    mutant = known[wanted]
    try:
        knobs = split(pairs)
        knobs.pop(COUNT, None)
        if (has := knobs.pop(HAS, None)) is not None:
            if mutant is not Legal:
                raise UsageError(f"{wanted}: only {Legal.id} has the key {HAS}")
            oddities.parse(has)
        mutant.knobs_of(knobs)
    except (KnobError, OddityError) as error:
        raise UsageError(f"{wanted}: {str(error).removeprefix(f'{wanted}: ')}") from None
    return MutantTarget(mutant, base or mutant.base, pairs)


def knobs_for(mutant: type[Mutant], pairs: Sequence[str]) -> list[str]:
    """Return those knobs ``KEY=VALUE`` of a list for all mutants that this mutant has.

    A control has none, because it does nothing wrong.

    :raise UsageError: a knob or value is wrong for every mutant.
    """
    try:
        knobs = split(pairs)
        Mutant.knobs_of(knobs)
    except KnobError as error:
        raise UsageError(str(error).removeprefix(": ")) from None
    if is_control(mutant):
        return []
    return [f"{knob}={value}" for knob, value in knobs.items() if _has(mutant, knob, value)]


def _has(mutant: type[Mutant], knob: str, value: str) -> bool:
    try:
        mutant.knobs_of({knob: value})
    except KnobError:
        return False
    return True
