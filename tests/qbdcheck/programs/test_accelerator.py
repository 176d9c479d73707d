"""The probe of accelerators with real guests."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.programs.accelerator import BOOT_SECTOR, probe_accelerator


def test_a_probe_guest_runs_under_tcg() -> None:
    found = probe_accelerator("tcg", limit_s=20)
    assert found.works, found.reason
    assert str(found).startswith("yes: a probe guest ran in ")


def test_a_guest_that_does_not_end_in_time_is_reported_as_unusable(tmp_path: Path) -> None:
    found = probe_accelerator("tcg", limit_s=0.01)
    assert not found.works
    assert str(found) == "no: a probe guest did not end within 0.01 s"


def test_probe_of_kvm_ends_within_the_limit() -> None:
    found = probe_accelerator("kvm", limit_s=1)
    assert found.works or found.reason
    assert found.elapsed_s < 5


def test_unknown_accelerator_has_the_message_of_qemu() -> None:
    found = probe_accelerator("abacus")
    assert not found.works
    assert "abacus" in found.reason


def test_a_missing_qemu_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "qemu-system-x86_64: no such program" in probe_accelerator("tcg").reason


def test_the_boot_sector_is_one_sector_with_its_signature() -> None:
    assert len(BOOT_SECTOR) == 512
    assert BOOT_SECTOR[-2:] == b"\x55\xaa"
