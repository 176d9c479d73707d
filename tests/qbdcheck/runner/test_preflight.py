"""Which reason is given first when a case cannot start."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.catalogue.case import CaseInfo, make_spec
from qbdcheck.programs.installed import Programs
from qbdcheck.runner.preflight import decide_before


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"flush"}, "target lacks own_driver"),
        ({"own_driver"}, "program no-such-program is not installed"),
    ],
)
def test_a_program_is_missed_only_where_the_target_can_run_the_case(
    found: set[str], reason: str
) -> None:
    spec = make_spec("rw", "own_driver", programs="no-such-program")
    case = CaseInfo(Path("001_toy.py"), 1, "a toy", spec)
    decided = decide_before(case, "raw", found, Programs({}))
    assert decided is not None
    assert decided.reasons == (reason,)
