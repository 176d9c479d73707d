"""`./check replay FILE`: play a script on a target, and say at which step it is wrong.

    ./check replay FILE [-t TARGET] [--seed N]

Exit code 0: every step gave what it must; 1: one did not; 2: the file or the target is wrong.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from oracles.model import Model, Player, Wrong
from oracles.scripts import Script, ScriptError, to_nbdsh, to_qemu_io
from qbdcheck.errors import NotRun, ProgramError, SetupError, UsageError
from qbdcheck.model.players import OverNbd, through_qemu
from qbdcheck.options import Options
from qbdcheck.targets.armed_rules import ArmedRules
from qbdcheck.targets.capabilities import Scratch, capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession

EXIT_GREEN, EXIT_RED = 0, 1


def play(
    script: Script, player: Player, seed: int = 0, tell: Callable[[str], object] = str
) -> None:
    """Play a script and look at everything at its end.

    :param tell: gets a line for each step.
    :raise Wrong: names the step.
    :raise NotRun: the target cannot do a step of it.
    """
    unable = sorted({step.do for step in script.steps} - player.abilities)
    if unable:
        raise NotRun(*(f"the target cannot {word}" for word in unable))
    model = Model(player, script.size, seed)
    for number, step in enumerate(script.steps, 1):
        tell(f"{number:4}  {step}")
        try:
            model.step(step)
        except Wrong as wrong:
            raise Wrong(f"step {number}: {wrong}") from None
    tell("      read everything")
    try:
        model.finish()
    except Wrong as wrong:
        raise Wrong(f"at the end: {wrong}") from None


def main(options: Options, description: Description) -> int:
    """Play the file of the command line.

    :raise UsageError: the file or the target is wrong, or cannot do a step.
    """
    if len(options.arguments) != 1:
        raise UsageError("usage: ./check replay FILE [-t TARGET]")
    try:
        script = Script.read(Path(options.arguments[0]))
    except ScriptError as error:
        raise UsageError(str(error)) from None
    with Scratch() as scratch:
        found = capabilities(description, options, scratch)
        session = TargetSession(description, options, scratch, case_id="replay", capabilities=found)
        try:
            return _play_on(session, script)
        except (NotRun, ProgramError) as error:
            raise SetupError(f"{options.arguments[0]} on {description.name}: {error}") from None
        finally:
            session.close()


def _play_on(session: TargetSession, script: Script) -> int:
    disk = session.new_disk(script.size, prefill=False, format="raw")
    needs_rules = any(step.do == "fault" for step in script.steps)
    rules = ArmedRules(disk, lambda *_: None) if needs_rules else None
    if disk.backend.uri is None:
        opened = through_qemu(disk, session.storage_daemon, session.nbd)
    else:
        opened = OverNbd(disk, lambda: session.nbd(disk), rules=rules)
    with closing(opened) as player:
        try:
            play(script, player, session.options.seed, print)
        except Wrong as wrong:
            print(f"wrong: {wrong}")
            return EXIT_RED
        finally:
            if rules is not None:
                rules.settle()
    print(f"right: {len(script.steps)} steps on {session.description.name}")
    return EXIT_GREEN


def keep(script: Script, text: str, scratch: Path, saved: Path) -> None:
    """Save a failing script: in ``repro`` with its forms for qemu-io and nbdsh, and for next time.

    :param saved: the directory of `played_first`.
    """
    repro = scratch / "repro"
    repro.mkdir(exist_ok=True)
    first = text.partition("\n")[0]
    script = Script(script.size, script.steps, first)
    (repro / "script.yaml").write_text(script.to_yaml(), encoding="utf-8")
    (repro / "script.sh").write_text(to_qemu_io(script), encoding="utf-8")
    (repro / "script.nbdsh.py").write_text(to_nbdsh(script), encoding="utf-8")
    saved.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(repr(script.steps).encode()).hexdigest()[:12]
    (saved / f"{name}.yaml").write_text(script.to_yaml(), encoding="utf-8")


def played_first(saved: Path, player: Player, seed: int) -> Sequence[tuple[Script, str]]:
    """Play what failed before; forget what is right now; return what still fails."""
    failing = []
    for path in sorted(saved.glob("*.yaml")) if saved.is_dir() else ():
        try:
            play(Script.read(path), player, seed)
        except Wrong as wrong:
            failing.append((Script.read(path), str(wrong)))
            continue
        except (NotRun, ScriptError):
            pass
        path.unlink()
    return failing


def saved_scripts(options: Options, case_id: str, target: str) -> Path:
    """Return where failing scripts of a case on a target are kept."""
    return options.cache_dir / "scripts" / target.replace(os.sep, "_") / case_id
