"""Checks of the shipped profiles that do not need their programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from qbdcheck.targets.description import load

PROFILES = sorted((ROOT / "targets").glob("*.yaml"))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_each_deviation_of_a_profile_has_a_finding_and_a_case(profile: Path) -> None:
    headings = re.findall(r"^## (\S+)$", (ROOT / "docs/findings.md").read_text(), re.MULTILINE)
    numbers = {path.name[:3] for path in (ROOT / "suites").glob("*/[0-9]*.py")}
    for deviation in load(profile).deviations:
        assert deviation.finding in headings
        assert deviation.case[:3] in numbers


def test_shipped_profiles_are_found() -> None:
    assert {"reference", "qemu-nbd", "file"} <= {profile.stem for profile in PROFILES}
