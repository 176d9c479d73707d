"""All mutants and controls by id."""

from __future__ import annotations

import importlib

from mutants.controls import Control
from mutants.mutant import Mutant, subclasses

GROUPS = ("placement", "stale", "durability", "zeroes", "sizes", "errors", "protocol",
          "connections", "recovery", "changes", "snapshots", "controls")  # fmt: skip


def catalogue() -> dict[str, type[Mutant]]:
    """Return every mutant and control, in the order of the groups."""
    for group in GROUPS:
        importlib.import_module(f"mutants.{group}")
    found = {one.id: one for one in subclasses(Mutant)}
    return dict(sorted(found.items(), key=lambda pair: _place(pair[1])))


def _place(mutant: type[Mutant]) -> tuple[int, str]:
    return GROUPS.index(mutant.__module__.rpartition(".")[2]), ""


def is_control(mutant: type[Mutant]) -> bool:
    """Say whether a mutant is legal."""
    return issubclass(mutant, Control)


def layer_words(mutant: type[Mutant]) -> str:
    """Return the argument of ``--layer`` that loads a mutant."""
    return f"{mutant.__module__}:{mutant.__name__}"
