"""``--probe --stress`` says what a target does under load, in bounded time."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.arguments import parse
from qbdcheck.commands.probe import main
from qbdcheck.commands.stress import TRIAL_S, TRIALS
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions

TARGETS = ROOT / "targets"
OPTIONS = TargetOptions(targets_dir=TARGETS)


def stressed(
    file: Path | str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str]:
    monkeypatch.setenv("COLUMNS", "2000")
    code = main(OPTIONS, file, color=False, stress=True)
    return code, capsys.readouterr().out


def changed(tmp_path: Path, extra: str) -> Path:
    text = (TARGETS / "reference.yaml").read_text()
    file = tmp_path / "changed.yaml"
    file.write_text(text.replace("{options}", f"{{options}} {extra}", 1))
    return file


def test_a_right_server_is_stressed_and_described(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = changed(tmp_path, "--layer mutants.controls:Reorders --max-connections 20")
    code, output = stressed(profile, capsys, monkeypatch)
    assert code == 0, output
    assert "20 at once, each was served; the target serves 20 clients at a time" in output
    assert "replies overtook others" in output
    assert "1 to 33554432 bytes, at the start and at the end" in output
    assert "a read across the end was refused" in output
    assert "64 writes and reads of 64 KiB in flight" in output


def test_all_claims_hold_with_the_largest_minimum_block(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (TARGETS / "reference.yaml").read_text()
    profile = tmp_path / "large.yaml"
    profile.write_text(text.replace("{options}", "--min-block 64k {options}", 1))
    code, output = stressed(profile, capsys, monkeypatch)
    assert code == 0, output
    assert "65536 to 33554432 bytes, at the start and at the end" in output


def test_a_server_that_mixes_up_data_is_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = changed(tmp_path, "--layer mutants.placement:MisdirectedWrite")
    code, output = stressed(profile, capsys, monkeypatch)
    assert code == 1
    queues = next(line for line in output.splitlines() if "stress: queues" in line)
    assert "WRONG" in queues
    assert "READ of 4096 bytes at offset" in queues


def test_a_target_without_a_server_is_stressed_through_qemu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output = stressed("file", capsys, monkeypatch)
    assert code == 0, output
    assert output.count("no raw NBD client can reach the target") == 3


def test_the_time_is_bounded() -> None:
    assert len(TRIALS) * TRIAL_S <= 20


def test_stress_requires_a_probe() -> None:
    assert parse(["--probe", "file", "--stress"]).stress
    with pytest.raises(UsageError, match="--stress requires --probe FILE"):
        parse(["--stress", "1"])
