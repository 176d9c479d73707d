"""``./check -n``: shows which cases would run, and why others would not."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from qbdcheck.catalogue.plan import Planned
from qbdcheck.exit_code import ExitCode
from qbdcheck.options import Execution, TargetOptions
from qbdcheck.programs.installed import Programs
from qbdcheck.runner.preflight import decide_before
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description


def show(
    target: TargetOptions,
    execution: Execution,
    description: Description,
    plan: Sequence[Planned],
) -> int:
    """Print a line for each unit of the plan, in order, and a last line with the counts.

    The target is started once to probe its capabilities. No case runs.

    :raise SetupError: the target does not start.
    """
    absent = description.not_here()
    available = frozenset() if absent else capabilities(description, target, execution.scratch_root)
    programs = Programs(
        description.program_paths, build=description.build, install=description.install
    )
    running = 0
    for planned in plan:
        case = planned.case
        decided = decide_before(case, planned.image_format, available, programs)
        reasons = [planned.excluded] if planned.excluded else []
        if absent:
            reasons += absent
        elif decided is not None:
            reasons += decided.reasons or [f"broken: {decided.message}"]
        running += not reasons
        line = f"{case.number:03}".ljust(4) + f" {planned.image_format:9}  "
        line += f"not run  {'; '.join(reasons)}" if reasons else f"would run  {case.sentence}"
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"Would run {running} of {len(plan)} cases, seed {execution.seed}\n")
    return ExitCode.GREEN
