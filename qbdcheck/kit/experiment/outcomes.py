"""Outcomes of plays: does a script fail in the same way, is it right, or is that not certain?"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace

from oracles.damage import Damage
from oracles.finding import Finding
from oracles.scripts import Script

FAILS, RIGHT, SOMETIMES, OTHER = "fails", "right", "sometimes", "other"
"""``other``: it could not be played, or something else was wrong than in the case."""
_LOST = (Damage.DIED, Damage.PROTOCOL, Damage.HANG)


@dataclass(frozen=True)
class Played:
    """One play of a script.

    :ivar damage: what was wrong; None if nothing was, or if it could not be played.
    :ivar step: the number of the step that was wrong, from 1; 0: the check at the end.
    :ivar text: what was wrong, or why it could not be played, in one line.
    :ivar saw: request, place, what was expected and what was seen, in a few lines.
    """

    damage: Damage | None = None
    step: int = 0
    text: str = ""
    is_playable: bool = True
    saw: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it was played, and nothing was wrong."""
        return self.is_playable and self.damage is None


@dataclass(frozen=True)
class Tried:
    """What became of a script in one or more plays; ``failed`` of ``plays`` failed alike."""

    outcome: str
    plays: int
    failed: int
    step: int = 0
    seen: str = ""
    saw: str = ""


SEEDS = 4
"""Seeds of power cuts with which a script must be right."""
Play = Callable[[Script], Played]


def is_alike(wanted: Damage, played: Played) -> bool:
    """Return whether a play has damage of the kind of the case: contents, or the same answer.

    The kinds of wrong contents count as one: what a sector shows depends on what was there before.
    """
    seen = played.damage
    if seen is None:
        return False
    if wanted in _LOST:
        return seen in _LOST
    if not wanted.rank or wanted is Damage.NOT_LINEARIZABLE:
        return not seen.rank
    return seen is wanted


def kind_of(finding: Finding) -> Damage:
    """Return the damage of a finding; a lost connection is no errno."""
    seen = finding.seen
    if finding.damage is Damage.ERROR and seen is not None and seen.number == errno.ECONNRESET:
        return Damage.PROTOCOL
    return finding.damage


def _has_cut(script: Script) -> bool:
    return any(one.do == "power-cut" for one in script.steps)


def seeded(script: Script, number: int) -> Script:
    """Return the script with other seeds of its power cuts; ``number`` 0 has its own."""
    steps = [replace(one, seed=one.seed + number) if one.do == "power-cut" else one
             for one in script.steps]  # fmt: skip
    return replace(script, steps=tuple(steps))


class Judge:
    """Plays scripts and remembers what became of them.

    :param play: plays a script once. :param wanted: the damage of the case.
    :param is_over: whether the time is over; then nothing more is played.
    :ivar count: plays until now.
    :ivar last_saw: what the last play saw that failed; empty before one did.
    :ivar is_steady: whether the smallest script failed each time, so that one failure of a variant
        and two right plays are enough.
    """

    def __init__(self, play: Play, wanted: Damage, is_over: Callable[[], bool]) -> None:
        self._play = play
        self._wanted = wanted
        self.is_over = is_over
        self.count = 0
        self.last_saw = ""
        self._known: dict[Script, Tried] = {}

    def once(self, script: Script) -> Tried:
        """Play a script once, and forget it."""
        self.count += 1
        played = self._play(script)
        if is_alike(self._wanted, played):
            self.last_saw = played.saw
            return Tried(FAILS, 1, 1, played.step, played.text, played.saw)
        return Tried(RIGHT if played.is_right else OTHER, 1, 0, played.step, played.text)

    def tried(self, script: Script, plays: int = 2) -> Tried | None:
        """Return what becomes of a script; None if there is no time to play it.

        One failure is enough to say that it fails. Only ``plays`` right plays are right. What a
        power cut keeps depends on its seed: such scripts are played with several seeds.
        """
        if script in self._known:
            return self._known[script]
        if self.is_over():
            return None
        if _has_cut(script):
            plays = max(plays, SEEDS)
        found = self.once(script)
        for number in range(1, plays):
            if found.outcome != RIGHT or self.is_over():
                break
            again = self.once(seeded(script, number))
            if _has_cut(script) and again.outcome == FAILS:
                found = Tried(FAILS, number + 1, 1, again.step, again.seen)
                break
            outcome = RIGHT if again.outcome == RIGHT else SOMETIMES
            found = Tried(outcome, found.plays + 1, again.failed, again.step, again.seen)
        self._known[script] = found
        return found

    def fails(self, script: Script) -> bool:
        """Return whether a script fails; False if it does not each time, or the time is over."""
        found = self.tried(script, plays=1)
        return found is not None and found.outcome == FAILS

    def with_failing_seed(self, script: Script) -> Script:
        """Return the script with seeds of its power cuts with which it fails, if some do."""
        for number in range(SEEDS if _has_cut(script) else 0):
            if self.once(seeded(script, number)).outcome == FAILS:
                return seeded(script, number)
        return script

    def rate(self, script: Script, plays: int) -> Tried:
        """Play a script several times; it fails, is right, or fails sometimes."""
        all_plays = [self.once(script) for _ in range(plays)]
        failed = sum(one.outcome == FAILS for one in all_plays)
        outcome = FAILS if failed == plays else SOMETIMES if failed else all_plays[0].outcome
        wrong = next((one for one in all_plays if one.outcome == FAILS), all_plays[0])
        return Tried(outcome, plays, failed, wrong.step, wrong.seen, wrong.saw)
