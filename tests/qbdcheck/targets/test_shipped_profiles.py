"""Checks of the shipped profiles that do not need their programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from qbdcheck.targets.description import load

EXAMPLES = sorted((ROOT / "targets" / "examples").glob("*.yaml"))
PROFILES = sorted((ROOT / "targets").glob("*.yaml"))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_each_deviation_of_a_profile_has_a_finding_and_a_case(profile: Path) -> None:
    headings = re.findall(r"^## (\S+)$", (ROOT / "docs/findings.md").read_text(), re.MULTILINE)
    numbers = {path.name[:3] for path in (ROOT / "suites").glob("*/[0-9]*.py")}
    for deviation in load(profile).deviations:
        assert deviation.finding in headings
        assert deviation.case[:3] in numbers


@pytest.mark.parametrize("profile", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_sound_and_says_why_it_is_not_run(profile: Path) -> None:
    description = load(profile)
    assert description.about.startswith("example, ")
    missing = [need for need in description.needs if need != "root" and not Path(need).exists()]
    reasons = description.not_here()
    for need in missing:
        assert f"target {description.name} needs {need}, which does not exist" in reasons


def test_examples_cover_what_needs_a_kernel_of_its_own() -> None:
    names = {profile.stem for profile in EXAMPLES}
    assert names == {"kernel-nbd", "ublk", "lio", "nvme-of", "spdk"}


def test_shipped_profiles_are_found() -> None:
    assert {"reference", "qemu-nbd", "file"} <= {profile.stem for profile in PROFILES}
