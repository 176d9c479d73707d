"""A mutant of a kill matrix."""

from __future__ import annotations

from dataclasses import dataclass

from mutants.mutant import Mutant


@dataclass(frozen=True)
class Wanted:
    """A mutant and its knobs, as ``KEY=VALUE:KEY=VALUE``."""

    mutant: type[Mutant]
    knobs: str = ""
    left_out: str = ""

    @property
    def name(self) -> str:
        """The mutant as an argument of --mutants."""
        return ":".join(filter(None, [self.mutant.id, self.knobs]))
