"""``./check -n``: what would run, and what would not, and why."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from qbdcheck.catalogue.plan import Planned
from qbdcheck.options import Options
from qbdcheck.programs.installed import Programs
from qbdcheck.runner.preflight import decide_before
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description


def show(options: Options, description: Description, plan: Sequence[Planned]) -> int:
    """Print a line for each unit of the plan, in its order, and a last one with the counts.

    Starts the target once, to see what it can do; runs no case.

    :raise SetupError: the target does not come up.
    """
    available = capabilities(description, options, options.scratch_root)
    programs = Programs(description.program_paths)
    running = 0
    for planned in plan:
        case = planned.case
        decided = decide_before(case, planned.image_format, available, programs)
        reasons = [planned.excluded] if planned.excluded else []
        if decided is not None:
            reasons += decided.reasons or [f"broken: {decided.message}"]
        running += not reasons
        line = f"{case.number:03}  {planned.image_format:9}  "
        line += f"not run  {'; '.join(reasons)}" if reasons else f"would run  {case.sentence}"
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"Would run {running} of {len(plan)} cases, seed {options.seed}\n")
    return 0
