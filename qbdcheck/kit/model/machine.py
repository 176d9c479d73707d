"""A state machine of hypothesis that plays random scripts, and shrinks one that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from oracles.model import Model, Player, Wrong
from oracles.scripts import ERRNOS, FAULTS, Script, ScriptError, Step
from oracles.shrinking import fewest
from qbdcheck.errors import NotRun, QbdcheckError
from qbdcheck.kit.model.replay import SIZE, play
from reference_backend.nbd.errors import NbdProtocolError, OptionRefused

_Rule = TypeVar("_Rule", bound=Callable[..., None])
_EDGES = (0, 512, 4096, 8192, 8192 + 512, 65_536, SIZE - 4096, SIZE - 512)
_TRIALS = 200
"""Most scripts that are played to shorten one."""
_SIZES = (SIZE, SIZE // 2, SIZE + 4096, SIZE - 512)


@dataclass
class Found:
    """The failures of one search, the shortest script first in `best`."""

    scripts: int = 0
    steps: int = 0
    failures: list[tuple[Script, Wrong]] = field(default_factory=list)

    @property
    def best(self) -> tuple[Script, Wrong] | None:
        """The shortest failing script and its error; None if no script failed."""
        return min(self.failures, key=lambda pair: len(pair[0].steps), default=None)


_TARGET_ERRORS = (QbdcheckError, OSError, EOFError, NbdProtocolError, OptionRefused)
"""What a player raises when the target does not work any more."""


def alignment_of(player: Player) -> int:
    """Return the block in bytes to which a player's requests must be aligned; 1 by default."""
    return int(getattr(player, "alignment", 1))


_PLACE = st.tuples(
    st.one_of(st.sampled_from(_EDGES), st.integers(0, SIZE - 1)),
    st.one_of(st.sampled_from((512, 4096, 8192)), st.integers(1, 6000)),
)


def _can(word: str) -> Callable[[_Rule], _Rule]:
    able: Callable[[_Rule], _Rule] = precondition(lambda self: word in self.player.abilities)
    return able


class DiskMachine(RuleBasedStateMachine):
    """One script. Subclasses have the player and collect the failures."""

    player: Player
    found: Found
    identity = 0

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[Step] = []
        self._size = SIZE
        self._failed = False
        self._kills = 0
        self._model: Model | None = None

    @initialize()
    def begin(self) -> None:
        """Prepare a new volume."""
        self._guard(self._begin)
        self.found.scripts += 1

    def _begin(self) -> None:
        self._model = Model(self.player, SIZE, self.identity)

    def _guard(self, act: Any) -> None:
        try:
            act()
        except Wrong as wrong:
            self._failed = True
            script = Script(SIZE, tuple(self._steps) or (Step("flush"),))
            self.found.failures.append((script, wrong.within("")))
            raise

    def _at(self, do: str, place: tuple[int, int], *, fua: bool = False) -> None:
        self._do(Step(do, *self._within(place), fua))

    def _within(self, place: tuple[int, int]) -> tuple[int, int]:
        """Return a place within the volume, in whole blocks of the target."""
        block = alignment_of(self.player)
        offset = min(place[0], self._size) // block * block
        return offset, min(-(-place[1] // block) * block, self._size - offset)

    def _do(self, step: Step) -> None:
        self._steps.append(step)
        self.found.steps += 1
        model = self._model
        assert model is not None
        self._guard(lambda: model.step(step))

    @rule(place=_PLACE, fua=st.booleans())
    def write(self, place: tuple[int, int], fua: bool) -> None:
        """Write."""
        self._at("write", place, fua=fua)

    @_can("zero")
    @rule(place=_PLACE, fua=st.booleans(), no_hole=st.booleans())
    def zero(self, place: tuple[int, int], fua: bool, no_hole: bool) -> None:
        """Write zeroes."""
        self._do(Step("zero", *self._within(place), fua=fua, no_hole=no_hole))

    @_can("discard")
    @rule(place=_PLACE, fua=st.booleans())
    def discard(self, place: tuple[int, int], fua: bool) -> None:
        """Discard."""
        self._at("discard", place, fua=fua)

    @rule(place=_PLACE)
    def read(self, place: tuple[int, int]) -> None:
        """Read."""
        self._at("read", place)

    @_can("status")
    @rule(place=_PLACE)
    def status(self, place: tuple[int, int]) -> None:
        """Ask for block status."""
        self._at("status", place)

    @_can("flush")
    @rule()
    def flush(self) -> None:
        """Flush."""
        self._do(Step("flush"))

    @_can("resize")
    @rule(size=st.sampled_from(_SIZES))
    def resize(self, size: int) -> None:
        """Resize."""
        block = alignment_of(self.player)
        size = size // block * block
        self._do(Step("resize", size=size))
        self._size = size

    @_can("snapshot")
    @rule()
    def snapshot(self) -> None:
        """Take a snapshot."""
        self._do(Step("snapshot"))

    @_can("reopen")
    @rule(orderly=st.booleans())
    def connect_again(self, orderly: bool) -> None:
        """Close the connection in order, or drop it, and connect again."""
        self._do(Step("reopen" if orderly else "reconnect"))

    @_can("power-cut")
    @rule(seed=st.integers(0, 255))
    def cut_power(self, seed: int) -> None:
        """Cut the power."""
        self._do(Step("power-cut", seed=seed))

    @precondition(lambda self: "kill" in self.player.abilities and self._kills == 0)
    @rule()
    def kill(self) -> None:
        """Kill the server; once in a script, because a restart may take long."""
        self._kills += 1
        self._do(Step("kill"))

    @_can("fault")
    @rule(kind=st.sampled_from(FAULTS), errno=st.sampled_from(ERRNOS))
    def fault(self, kind: str, errno: str) -> None:
        """Make the next request of a kind fail."""
        self._do(Step("fault", kind=kind, errno=errno))

    def teardown(self) -> None:
        """Read and check everything."""
        if self._model is not None and not self._failed:
            self._guard(self._model.finish)


def search(player: Player, seed: int, scripts: int, steps: int = 30) -> Found:
    """Play ``scripts`` scripts of up to ``steps`` steps; shrink one that fails.

    The same seed gives the same scripts. A failure that was found is kept, also if the target dies
    while its script is being shrunk.

    :raise QbdcheckError: the target fails before a script has failed. (Also OSError.)
    """
    found = Found()
    machine = type("Machine", (DiskMachine,), {"player": player, "found": found})
    hypothesis.seed(seed)(machine)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=scripts,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                print_blob=False,
                verbosity=Verbosity.quiet,
                phases=(Phase.generate, Phase.shrink),
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except (Wrong, Flaky, *_TARGET_ERRORS):  # a failure counts, also if it is not reproduced
        if not found.failures:
            raise
    if found.best is not None:
        _shorten(found, found.best[0], player)
    return found


def _shorten(found: Found, script: Script, player: Player) -> None:
    """Remove steps until each one is needed: hypothesis may stop before that."""
    left = _TRIALS

    def fails(steps: list[Step]) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            return False
        document = {"size": script.size, "steps": [step.mapping() for step in steps]}
        try:
            shorter = Script.of(document, "shorter")  # offsets may be beyond the new end
            play(shorter, player)
        except Wrong as wrong:
            found.failures.append((shorter, wrong.within("")))
            return True
        except (ScriptError, NotRun):
            pass
        except _TARGET_ERRORS:  # the target is gone: keep what was found
            left = 0
        return False

    fewest(list(script.steps), fails)
