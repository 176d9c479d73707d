"""Targets that are not a file: `mutant:ID` is the reference target with one seeded bug."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from mutants.catalogue import catalogue, is_control, layer_words
from mutants.knobs import KnobError, split
from mutants.mutant import Mutant
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.description import Description

PREFIX = "mutant:"
COUNT = "requests"
"""Not a knob of the bug: a directory where the servers count their requests."""
_COUNTER = "mutants.requests:RequestCount:directory="


def profile(target: str, targets_dir: Path, suites_dir: Path = ROOT / "suites") -> Description:
    """Return the profile of any target: a name, the path of a file, ``mutant:ID[:KEY=VALUE...]``.

    :raise UsageError: there is none; names the nearest. Or its file is wrong, or a knob.
    """
    if not target.startswith(PREFIX):
        return descriptions.load(descriptions.find(target, targets_dir), suites_dir)
    mutant, words = read_words(target.removeprefix(PREFIX))
    reference = descriptions.load(descriptions.find("reference", targets_dir))
    counts = [word for word in words if word.startswith(f"{COUNT}=")]
    knobs = [word for word in words if word not in counts]
    layer = ":".join([layer_words(mutant), *knobs])
    start = f"{reference.start} --layer {layer}"
    for word in counts:
        directory = Path(word.partition("=")[2])
        if not directory.is_dir():
            raise UsageError(f"{mutant.id}: {word}: must be a directory that is there")
        start = f"{reference.start} --layer {_COUNTER}{directory.absolute()} --layer {layer}"
    return reference.model_copy(
        update={
            "name": ":".join([PREFIX + mutant.id, *knobs]),
            "about": f"the reference backend with a bug: {mutant.breaks}",
            "start": start,
        }
    )


def read_words(text: str) -> tuple[type[Mutant], list[str]]:
    """Return the mutant of ``ID[:KEY=VALUE...]``, and its words, which are right.

    :raise UsageError: no such mutant, or a knob or value that it does not take.
    """
    wanted, *words = text.split(":")
    known = catalogue()
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {' '.join(known)}"
        raise UsageError(f"unknown mutant '{wanted}'; {hint}")
    mutant = known[wanted]
    try:
        knobs = split(words)
        knobs.pop(COUNT, None)
        mutant.knobs_of(knobs)
    except KnobError as error:
        raise UsageError(f"{wanted}: {str(error).removeprefix(f'{wanted}: ')}") from None
    return mutant, words


def knobs_for(mutant: type[Mutant], words: Sequence[str]) -> list[str]:
    """Return those of the knobs, ``KEY=VALUE`` each and meant for all mutants, that this one has.

    A control has none: nothing that it does is a matter of chance or place.

    :raise UsageError: a knob or value is wrong for every mutant.
    """
    try:
        knobs = split(words)
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
