"""Targets that give each connection a volume of its own: the claim, the hint, and what is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.catalogue.case import CaseInfo, make_spec
from qbdcheck.commands.connection_volumes import HINT
from qbdcheck.commands.probe import main
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.programs.installed import Programs
from qbdcheck.runner.preflight import decide_before
from qbdcheck.targets.description import load

TARGETS = ROOT / "targets"
OPTIONS = TargetOptions(targets_dir=TARGETS)
ONE_EACH = "volatile: connection\n"


def _profile(tmp_path: Path, target: str, volatile: str) -> Path:
    """Return a copy of a shipped profile with another ``volatile:`` and without deviations.

    With one thread, nbdkit 1.32 does not abort when a client vanishes (docs/findings.md).
    """
    lines = (TARGETS / f"{target}.yaml").read_text().splitlines(keepends=True)
    kept = [
        line for line in lines if not line.startswith(("volatile:", "deviations:", "  - {case"))
    ]
    file = tmp_path / f"{target}.yaml"
    text = "".join(kept) + volatile
    assert "nbdkit --foreground" in text
    file.write_text(text.replace("nbdkit --foreground", "nbdkit --foreground --threads=1"))
    return file


def _run(place: Path, profile: Path, *cases: str) -> str:
    """Run cases in a process of its own; return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "qbdcheck", "-t", str(profile), "-j1", *cases],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout + done.stderr


def _probed(profile: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(OPTIONS, profile, color=False)
    return code, " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_profile_that_calls_a_shared_volume_private_is_refuted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = _probed(_profile(tmp_path, "nbdkit", ONE_EACH), capsys)
    assert code == 1
    assert output.count("WRONG") == 1
    assert "a connection reads what an earlier one has written" in output


def test_a_profile_that_does_not_say_it_gets_the_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = _probed(_profile(tmp_path, "nbdkit-tmpdisk", "volatile: true\n"), capsys)
    assert code == 1
    assert HINT in output


def test_a_mass_failure_has_it_as_its_one_cause(tmp_path: Path) -> None:
    profile = _profile(tmp_path, "nbdkit-tmpdisk", "volatile: true\n")
    output = _run(tmp_path, profile, "1-3", "5", "8", "10-12", "14")
    causes = " ".join(output.partition("Causes, the likely root first:")[2].split())
    assert causes.startswith("1. ")
    assert HINT in causes
    assert "2. " not in causes


def test_the_cases_find_a_server_whose_connections_share_a_volume(tmp_path: Path) -> None:
    profile = _profile(tmp_path, "nbdkit", ONE_EACH)
    output = _run(tmp_path, profile, "1359-1361")
    assert "Failures: 1360 1361" in output
    assert "still there, expected zeroes" in output


def test_fresh_volumes_may_have_data(tmp_path: Path) -> None:
    profile = _profile(tmp_path, "nbdkit-tmpdisk", "volatile: connection\nfresh: undefined\n")
    filled = profile.read_text().replace("truncate -s $size", "yes data | head -c $size >")
    profile.write_text(filled)
    output = _run(tmp_path, profile, "1359-1361", "1396-1397")
    assert "Passed all 5 cases" in output, output


def test_the_cases_find_volumes_whose_fresh_contents_differ(tmp_path: Path) -> None:
    profile = _profile(tmp_path, "nbdkit-tmpdisk", "volatile: connection\nfresh: undefined\n")
    differing = profile.read_text().replace("truncate -s $size", "date +%N | head -c $size >")
    differing = differing.replace('$disk\\""', '$disk\\" && truncate -s $size \\"$disk\\""')
    profile.write_text(differing)
    output = _run(tmp_path, profile, "1361", "1397")
    assert "Failures: 1361 1397" in output, output
    assert "has changed after another connection" in output, output


@pytest.mark.parametrize(
    ("requires", "is_private", "reasons"),
    [
        ("", True, ["the target gives each connection a volume of its own"]),
        ("volume_per_connection", True, []),
        ("", False, []),
        ("volume_per_connection", False, ["target lacks volume_per_connection"]),
    ],
)
def test_only_cases_made_for_it_run(requires: str, is_private: bool, reasons: list[str]) -> None:
    case = CaseInfo(Path("001_toy.py"), 1, "a toy", make_spec("rw", requires))
    found = {"volume_per_connection"} if is_private else {"flush"}
    decided = decide_before(case, "raw", found, Programs({}))
    assert list(decided.reasons if decided else ()) == reasons


def test_a_profile_without_nbd_cannot_say_it(tmp_path: Path) -> None:
    file = _profile(tmp_path, "nbdkit", ONE_EACH)
    lines = [line for line in file.read_text().splitlines() if not line.startswith("nbd:")]
    file.write_text("\n".join(lines))
    with pytest.raises(UsageError, match="volatile: connection requires nbd:"):
        load(file)


def test_a_mistyped_value_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="volatile") as caught:
        load(_profile(tmp_path, "nbdkit", "volatile: conection\n"))
    assert len(str(caught.value).splitlines()) == 1
    assert "connection" in str(caught.value)
