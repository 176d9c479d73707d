"""A read-only target: its volumes are filled by the file behind them, and QEMU only reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.catalogue.case import CaseInfo, make_spec
from qbdcheck.commands.profile_claims import CLAIMS
from qbdcheck.errors import NotRun
from qbdcheck.options import TargetOptions
from qbdcheck.programs.installed import Programs
from qbdcheck.runner.preflight import decide_before
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import load
from qbdcheck.verdict import Verdict
from tests.qbdcheck.targets.conftest import Opener

PROFILE = """\
name: behind
about: a file that QEMU only reads
volume:
  create: truncate -s {size} {dir}/{name}
blockdev: {driver: file, filename: "{dir}/{name}", read-only: true}
path: "{dir}/{name}"
"""


def test_the_contents_are_written_to_the_file_and_read_by_qemu(open_target: Opener) -> None:
    session = open_target(PROFILE)
    disk = session.new_disk(1 << 20)
    assert any(disk.volume_path.read_bytes())
    with session.qemu_io(disk) as io:
        io.read(1000, 70_000)
        assert "read-only" in io("write -P 1 0 4k")
    disk.verify()


def test_a_target_without_a_file_name_runs_no_case_that_needs_one(open_target: Opener) -> None:
    disk = open_target(PROFILE).new_disk(1 << 20, prefill=False)
    with pytest.raises(NotRun, match="target behind has no file name for qemu-img create"):
        _ = disk.backend.filename


def test_an_image_is_made_on_the_file(open_target: Opener) -> None:
    session = open_target(PROFILE, image_format="qcow2")
    disk = session.new_disk(1 << 20)
    assert disk.volume_path.read_bytes()[:4] == b"QFI\xfb"
    disk.verify()


def test_the_claims_are_those_of_a_volume_that_nobody_writes(
    open_target: Opener, scratch: Path
) -> None:
    session = open_target(PROFILE)
    found = capabilities(session.description, TargetOptions(), scratch)
    assert found.isdisjoint({"flush", "fua", "discard", "write_zeroes"})
    assert "refuses_writes" in found
    assert CLAIMS["refuses_writes"](session) == "a write is refused, and the data stays"


@pytest.mark.parametrize(
    ("groups", "requires", "is_refused", "runs"),
    [
        ("rw", "", True, False),
        ("rw reading", "", True, True),
        ("rw", "refuses_writes", True, True),
        ("rw", "", False, True),
        ("rw", "refuses_writes", False, False),
    ],
)
def test_cases_that_may_write_are_not_run(
    groups: str, requires: str, is_refused: bool, runs: bool
) -> None:
    case = CaseInfo(Path("001_toy.py"), 1, "a toy", make_spec(groups, requires))
    found = {"refuses_writes"} if is_refused else {"flush"}
    decided = decide_before(case, "raw", found, Programs({}))
    assert (decided is None) is runs
    if decided is not None:
        assert decided.verdict is Verdict.NOT_RUN
        reason = "the target is read-only" if is_refused else "target lacks refuses_writes"
        assert decided.reasons == (reason,)


def test_the_shipped_target_is_read_only() -> None:
    root = Path(__file__).parents[3]
    assert load(root / "targets" / "http.yaml").is_read_only
    assert not load(root / "targets" / "file.yaml").is_read_only
