"""Which reason is given first when a case cannot start."""

from __future__ import annotations

from pathlib import Path

from qbdcheck.catalogue.case import CaseInfo, make_spec
from qbdcheck.programs.installed import Programs
from qbdcheck.runner.preflight import decide_before


def test_what_the_target_lacks_comes_before_programs_that_are_missing() -> None:
    """To install a program does not help where the target cannot run the case."""
    spec = make_spec("rw", "own_driver", programs="no-such-program")
    case = CaseInfo(Path("001_toy.py"), 1, "a toy", spec)
    decided = decide_before(case, "raw", {"flush"}, Programs({}))
    assert decided is not None
    assert decided.reasons == (
        "target lacks own_driver",
        "program no-such-program is not installed",
    )
