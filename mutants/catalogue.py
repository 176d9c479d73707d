"""All mutants and controls by id."""

from __future__ import annotations

import importlib
from typing import TypeGuard

from mutants.controls import Control
from mutants.mutant import Mutant

GROUPS = ("placement", "stale", "durability", "zeroes", "sizes", "errors", "protocol",
          "connections", "recovery", "changes", "snapshots", "headers", "equal_blocks",
          "tracking", "depth", "lengths", "exports",
          "splitting", "transformation", "caching", "barriers", "journals", "unmapping",
          "mapping", "lineage", "replication", "answers", "exchanges", "shortages", "greetings",
          "sessions", "allocation", "page_contents", "entangled", "pacing",
          "variants", "further_variants", "second_sight",
          "third_caches", "third_cuts", "third_snapshots", "third_requests", "third_replies",
          "third_variants",
          "fourth_caches", "fourth_logs", "fourth_layers", "fourth_requests", "fourth_clients",
          "fourth_variants", "fifth_requests", "fifth_layers",
          "sixth_requests", "sixth_cuts", "sixth_layers", "sixth_variants",
          "seventh_requests", "seventh_cuts", "seventh_layers",
          "virtio", "virtio_queues",
          "controls", "rare_controls")  # fmt: skip


def catalogue() -> dict[str, type[Mutant]]:
    """Return every mutant and control by id, in the order of the groups and their files."""
    return {
        one.id: one
        for group in GROUPS
        for one in vars(importlib.import_module(f"mutants.{group}")).values()
        if _is_defined_in(one, group)
    }


def _is_defined_in(one: object, group: str) -> TypeGuard[type[Mutant]]:
    if not (isinstance(one, type) and issubclass(one, Mutant)):
        return False
    return bool(one.id) and one.__module__ == f"mutants.{group}"


def is_control(mutant: type[Mutant]) -> bool:
    """Return whether the backend is right: legal, but unusual."""
    return issubclass(mutant, Control)


def layer_argument(mutant: type[Mutant]) -> str:
    """Return the argument of ``--layer`` that loads a mutant."""
    return f"{mutant.__module__}:{mutant.__name__}"
