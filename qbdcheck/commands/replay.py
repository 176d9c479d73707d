"""`./check replay FILE`: plays a script on a target and names the step that failed.

    ./check replay FILE [-t TARGET] [--seed N]

Exit code 0: all steps had the right result; 1: a step did not; 2: the file or target is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from oracles.model import Wrong
from oracles.scripts import Script, ScriptError
from qbdcheck.errors import NotRun, ProgramError, SetupError, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import COMMAND
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.model.players import OverNbd, through_qemu
from qbdcheck.kit.model.replay import play
from qbdcheck.options import Execution, TargetOptions
from qbdcheck.targets.capabilities import Scratch, capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession


def main(
    arguments: Sequence[str],
    target: TargetOptions,
    execution: Execution,
    description: Description,
) -> int:
    """Play the file in `arguments`.

    :raise UsageError: the file or the target is wrong, or the target cannot do a step.
    """
    if len(arguments) != 1:
        raise UsageError(f"usage: {COMMAND} replay FILE [-t TARGET]")
    try:
        script = Script.read(Path(arguments[0]))
    except ScriptError as error:
        raise UsageError(str(error)) from None
    with Scratch() as scratch:
        found = capabilities(description, target, scratch)
        session = TargetSession(
            description,
            target,
            scratch,
            execution=execution,
            case_id="replay",
            capabilities=found,
        )
        try:
            return _play_on(session, script)
        except (NotRun, ProgramError) as error:
            raise SetupError(f"{arguments[0]} on {description.name}: {error}") from None
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
            play(script, player, session.execution.seed, print)
        except Wrong as wrong:
            print(f"wrong: {wrong}")
            return ExitCode.RED
        finally:
            if rules is not None:
                rules.settle()
    print(f"right: {len(script.steps)} steps on {session.description.name}")
    return ExitCode.GREEN
