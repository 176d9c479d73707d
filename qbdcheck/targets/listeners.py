"""What the suite does about a volume when its server ends, loses its power, or changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Listeners:
    """The listeners of a volume and of the other exports of its server, which share them."""

    ended: list[Callable[[str, int | None], None]] = field(default_factory=list)
    """See `WithListeners.on_end`."""
    before_change: list[Callable[..., None]] = field(default_factory=list)
    """Called with a volume, ``orderly`` and ``alone`` (see `WithListeners.announce`)."""


class WithListeners:
    """A volume with listeners."""

    def __init__(self) -> None:
        self.listeners = Listeners()

    @property
    def on_end(self) -> list[Callable[[str, int | None], None]]:
        """Called after ``stop``, ``kill`` and ``crash``, with that word and the seed of a crash."""
        return self.listeners.ended

    def announce(self: Self, *, orderly: bool = True, alone: bool = False) -> None:
        """Say that the server ends, or that the volume changes its size or is removed.

        :param orderly: False if the server ends without a warning.
        :param alone: whether the other exports of the server stay as they are.
        """
        for callback in self.listeners.before_change:
            callback(self, orderly=orderly, alone=alone)

    def _report_end(self, how: str, seed: int | None = None) -> None:
        for callback in self.listeners.ended:
            callback(how, seed)
