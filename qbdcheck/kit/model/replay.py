"""Play a script against a model. Save failing scripts, and play them first the next time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from oracles.model import Model, Player, Wrong
from oracles.scripts import Script, ScriptError, to_nbdsh, to_qemu_io
from qbdcheck.errors import NotRun

SIZE = 128 << 10
"""Bytes of the volume on which random scripts are played."""


def play(
    script: Script,
    player: Player,
    seed: int = 0,
    tell: Callable[[str], object] = str,
    waived: frozenset[str] = frozenset(),
) -> None:
    """Play a script and check everything at its end.

    :param tell: called with a line for each step.
    :param waived: policies that the target waives.
    :raise Wrong: a step fails; the message names it.
    :raise NotRun: the target does not support a step.
    """
    unable = sorted({step.do for step in script.steps} - player.abilities)
    if unable:
        raise NotRun(*(f"the target cannot {word}" for word in unable))
    model = Model(player, script.size, seed, prefill=script.prefill, waived=waived)
    for number, step in enumerate(script.steps, 1):
        tell(f"{number:4}  {step}")
        try:
            model.step(step)
        except Wrong as wrong:
            raise wrong.within(f"step {number}: ") from None
    tell("      read everything")
    try:
        model.finish()
    except Wrong as wrong:
        raise wrong.within("at the end: ") from None


def keep(script: Script, text: str, scratch: Path, saved: Path) -> None:
    """Save a failing script: in ``repro``, also for qemu-io and nbdsh, and for the next run.

    :param saved: the directory of `played_first`.
    """
    repro = scratch / "repro"
    repro.mkdir(exist_ok=True)
    first = text.partition("\n")[0]
    script = replace(script, about=first)
    (repro / "script.yaml").write_text(script.to_yaml(), encoding="utf-8")
    (repro / "script.sh").write_text(to_qemu_io(script), encoding="utf-8")
    (repro / "script.nbdsh.py").write_text(to_nbdsh(script), encoding="utf-8")
    saved.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(repr(script.steps).encode()).hexdigest()[:12]
    (saved / f"{name}.yaml").write_text(script.to_yaml(), encoding="utf-8")


def played_first(saved: Path, player: Player, seed: int) -> Sequence[tuple[Script, Wrong]]:
    """Play saved scripts; delete those that pass; return those that still fail."""
    failing = []
    for path in sorted(saved.glob("*.yaml")) if saved.is_dir() else ():
        try:
            play(Script.read(path), player, seed)
        except Wrong as wrong:
            failing.append((Script.read(path), wrong.within("")))
            continue
        except (NotRun, ScriptError):
            pass
        path.unlink()
    return failing


def saved_scripts(cache_dir: Path, case_id: str, target: str) -> Path:
    """Return the directory of failing scripts of a case on a target."""
    return cache_dir / "scripts" / target.replace(os.sep, "_") / case_id
