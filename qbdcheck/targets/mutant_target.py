"""Targets that are not a file: `mutant:ID` is the reference target with one seeded bug."""

from __future__ import annotations

import difflib
from pathlib import Path

from mutants.catalogue import catalogue, layer_words
from qbdcheck.errors import UsageError
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.description import Description

PREFIX = "mutant:"


def profile(target: str, targets_dir: Path) -> Description:
    """Return the profile of any target: a name, the path of a file, ``mutant:ID[:KEY=VALUE...]``.

    :raise UsageError: there is none; names the nearest. Or its file is wrong.
    """
    if not target.startswith(PREFIX):
        return descriptions.load(descriptions.find(target, targets_dir))
    wanted, *knobs = target.removeprefix(PREFIX).split(":")
    known = catalogue()
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, 1)
        hint = f"did you mean '{near[0]}'?" if near else "./check --mutants lists them"
        raise UsageError(f"unknown mutant '{wanted}'; {hint}")
    reference = descriptions.load(descriptions.find("reference", targets_dir))
    mutant = known[wanted]
    layer = ":".join([layer_words(mutant), *knobs])
    return reference.model_copy(
        update={
            "name": target,
            "about": f"the reference backend with a bug: {mutant.breaks}",
            "start": f"{reference.start} --layer {layer}",
        }
    )
