"""Bugs of QEMU by version: which releases have them, and where they are documented."""

from __future__ import annotations

import pytest

from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.catalogue.qemu_bugs import QEMU_BUGS, WHERE, QemuBug, bugs_of
from qbdcheck.files import ROOT

BUG = QemuBug(1, "x", ("7.2.13", "8.2.6", "9.1"))


@pytest.mark.parametrize("version", ["6.2.0", "7.2.1", "7.2.12", "8.0.5", "8.2.5", "9.0.4", "9.0"])
def test_an_older_release_than_the_fix_of_its_series_has_the_bug(version: str) -> None:
    assert BUG.is_in(version)


@pytest.mark.parametrize("version", ["7.2.13", "7.2.22", "8.2.6", "8.2.10", "9.1", "9.1.0", "10.0"])
def test_a_release_with_the_fix_does_not_have_the_bug(version: str) -> None:
    assert not BUG.is_in(version)


def test_every_bug_has_a_case_and_is_in_the_findings() -> None:
    name, _, anchor = WHERE.partition("#")
    section = (ROOT / name).read_text().split(f"\n## {anchor}\n")[1].partition("\n## ")[0]
    numbers = {case.number for case in list_cases(ROOT / "suites")}
    assert numbers >= {bug.case for bug in QEMU_BUGS}
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    expected = [
        f"| {bug.case} | {bug.what} | {', '.join(bug.fixed[:-1])} | {bug.fixed[-1]} |"
        for bug in QEMU_BUGS
    ]
    assert rows == expected


def test_bugs_are_found_by_the_number_of_their_case() -> None:
    assert [bug.fixed[0] for bug in bugs_of(1111)] == ["7.2.9", "7.2.15"]
    assert bugs_of(1) == []
