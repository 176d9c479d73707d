"""A block status that claims zeroes where there is data is named, after wrong contents."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.errors import ProgramError
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.report.cause import cause_of, main_finding
from qbdcheck.targets.mutant_target import profile
from qbdcheck.targets.session import TargetSession
from qbdcheck.targets.status_check import WrongStatus, check_status

ZEROED = Finding(Damage.ZEROED, 4096, 512)


def opened(scratch: Path, target: str) -> TargetSession:
    description = profile(target, ROOT / "targets")
    return TargetSession(
        description, TargetOptions(), scratch, capabilities={"block_status", "nbd"}
    )


def test_a_status_that_lies_is_found_and_explains_what_reads_as_zeroes(scratch: Path) -> None:
    session = opened(scratch, "mutant:status-hole-over-dirty")
    try:
        disk = session.new_disk("1M")
        with session.nbd(disk) as client:
            client.write(0, b"x" * 8192)
            with pytest.raises(WrongStatus) as error:
                check_status(session, [ZEROED])
    finally:
        session.close()
    found = error.value.findings
    assert {one.damage for one in found} == {Damage.STATUS}
    assert found[0].request == "block status"
    assert found[0].offset == 0
    main = main_finding([ZEROED, *found])
    assert main is found[0]
    assert cause_of("differs", "", [ZEROED, *found]).startswith("block status: offset 0")
    assert "said to read as zeroes" in found[0].text


def test_a_status_elsewhere_does_not_explain_zeroed_data() -> None:
    status = Finding(Damage.STATUS, 1 << 20, 512, request="block status")
    assert main_finding([ZEROED, status]) is ZEROED


def test_a_right_status_adds_nothing_and_other_failures_are_not_compared(scratch: Path) -> None:
    session = opened(scratch, "mutant:control-plain")
    try:
        disk = session.new_disk("1M")
        check_status(session, [ZEROED])
        os.kill(disk.backend.pid, signal.SIGKILL)
        check_status(session, [ZEROED])  # the server does not answer
    finally:
        with pytest.raises(ProgramError, match="its server died"):
            session.close()
    lying = opened(scratch, "mutant:status-hole-over-dirty")
    try:
        lying.new_disk("1M")
        check_status(lying, [Finding(Damage.HANG)])
        check_status(lying, ())
    finally:
        lying.close()
