"""The base of bugs in what a volume does, with a state of their own for each volume."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from mutants.knobs import ALWAYS
from mutants.mutant import Mutant
from mutants.patching import replace
from reference_backend.store.volume import Volume

Real = Callable[..., Any]
Span = tuple[int, bytes]
"""The offset of data, and the data."""


class VolumeMutant(Mutant):
    """A bug around the methods of volumes.

    A subclass overrides the methods ``on_...`` that it needs. ``real`` is the right method of the
    volume; it takes the arguments that follow the volume, except that of `on_zeroes`, which takes
    none. One request at a time is inside of these methods.

    ``forgets_after`` has the events after which the state of a volume is `fresh` again: ``resize``,
    ``power_cut``, ``snapshot``. The subclass has no method for them.
    """

    takes = ALWAYS
    forgets_after: tuple[str, ...] = ()

    def install(self) -> None:
        """Patch the methods of volumes that the subclass overrides."""
        self._state: weakref.WeakKeyDictionary[Volume, Any] = weakref.WeakKeyDictionary()
        for name in ("read", "write", "flush", "resize", "power_cut", "snapshot"):
            own = f"on_{name}"
            if name in self.forgets_after:
                replace(Volume, name, partial(self._around, self._start_again))
            elif getattr(type(self), own) is not getattr(VolumeMutant, own):
                replace(Volume, name, partial(self._around, getattr(self, own)))
        if type(self).on_zeroes is not VolumeMutant.on_zeroes:
            for name in ("write_zeroes", "discard"):
                replace(Volume, name, partial(self._around_zeroes, name == "discard"))

    def _around(self, own: Real, real: Real) -> Real:
        def act(volume: Volume, *arguments: Any, **named: Any) -> Any:
            with self._lock:
                return own(partial(real, volume), volume, *arguments, **named)

        return act

    def _around_zeroes(self, is_discard: bool, real: Real) -> Real:
        def act(volume: Volume, offset: int, length: int, *rest: Any, **named: Any) -> None:
            fua = bool(named.get("fua", rest[-1] if len(rest) == (1 if is_discard else 3) else 0))
            with self._lock:
                thunk = partial(real, volume, offset, length, *rest, **named)
                self.on_zeroes(thunk, volume, offset, length, is_discard, fua)

        return act

    def _start_again(self, real: Real, volume: Volume, *arguments: Any, **named: Any) -> Any:
        """Carry out an event of `forgets_after`."""
        done = real(*arguments, **named)
        self.put(volume, self.fresh())
        return done

    def fresh(self) -> Any:
        """Return the first state of a volume."""
        return None

    def of(self, volume: Volume) -> Any:
        """Return the state of a volume."""
        if volume not in self._state:
            self._state[volume] = self.fresh()
        return self._state[volume]

    def put(self, volume: Volume, state: Any) -> None:
        """Set the state of a volume."""
        self._state[volume] = state

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Carry out a read."""
        raise NotImplementedError

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Carry out a write."""
        raise NotImplementedError

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Carry out a write zeroes or a discard."""
        raise NotImplementedError

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Carry out a flush."""
        raise NotImplementedError

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Carry out a resize."""
        raise NotImplementedError

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Carry out a power cut."""
        raise NotImplementedError

    def on_snapshot(self, real: Real, volume: Volume, name: str) -> None:
        """Take a snapshot."""
        raise NotImplementedError


def fits(volume: Volume, offset: int, length: int, longest: int) -> bool:
    """Return whether a change is allowed, and neither empty nor over ``longest`` bytes."""
    return 0 < length <= longest and offset + length <= volume.size and not volume.read_only


def apart(spans: list[Span], offset: int, length: int) -> list[Span]:
    """Return the spans that do not overlap a range."""
    return [one for one in spans if one[0] + len(one[1]) <= offset or one[0] >= offset + length]
