"""Plays scripts, each on a volume and a server of its own, and says what was wrong."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from oracles.model import Wrong
from oracles.scripts import Script
from qbdcheck.errors import NotRun, ProgramError, UsageError
from qbdcheck.kit.experiment.outcomes import Played, kind_of
from qbdcheck.kit.model.players import OverNbd, through_qemu
from qbdcheck.kit.model.replay import play
from qbdcheck.seed import Seed
from qbdcheck.targets.session import TargetSession

_TEXT = 200
_LINES = 4


class Bench:
    """Plays scripts on fresh volumes of a target.

    :param open_session: opens the target with a directory for its files.
    :param scratch: where these directories are made.
    :param seed: the stamps of each play follow from it.
    :ivar abilities: of the player; empty before the first play.
    :ivar alignment: the minimum block of the target in bytes.
    """

    def __init__(
        self, open_session: Callable[[Path], TargetSession], scratch: Path, seed: Seed
    ) -> None:
        self._open_session = open_session
        self._scratch = scratch
        self._seed = seed
        self._count = 0
        self.abilities: frozenset[str] = frozenset()
        self.alignment = 1

    def play(self, script: Script) -> Played:
        """Play a script on a fresh volume; everything of it has ended when this returns."""
        self._count += 1
        place = self._scratch / f"p{self._count:x}"
        place.mkdir(mode=0o700)
        session = self._open_session(place)
        try:
            return self._play(session, script)
        except (NotRun, ProgramError, UsageError, OSError) as error:
            return Played(text=_first_line(error), is_playable=False)
        finally:
            with contextlib.suppress(ProgramError, OSError):
                session.close()
            shutil.rmtree(place, ignore_errors=True)

    def _play(self, session: TargetSession, script: Script) -> Played:
        disk = session.new_disk(script.size, prefill=False)
        if disk.backend.uri is None or session.image_format != "raw":
            opened = through_qemu(disk, session.storage_daemon, session.nbd)
        else:
            opened = OverNbd(disk, lambda: session.nbd(disk))
        step = 0

        def count(line: str) -> None:
            nonlocal step
            number = line.split(maxsplit=1)[0]
            step = int(number) if number.isdigit() else 0

        with closing(opened) as player:
            self.abilities, self.alignment = player.abilities, player.alignment
            waived = session.description.waived_policies
            seed = int(self._seed.derive("play", self._count))
            try:
                play(script, player, seed, count, waived)
            except Wrong as wrong:
                found = wrong.findings[0]
                return Played(kind_of(found), step, _first_line(wrong), saw=saw_of(wrong))
        return Played()


def saw_of(wrong: Wrong) -> str:
    """Return what a play saw: step, place, what was expected and what was seen, one a line."""
    lines = str(wrong).strip().splitlines()
    return "\n".join(line.strip()[:_TEXT] for line in lines[:_LINES])


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_TEXT]
