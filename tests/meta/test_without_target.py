"""A case that finds a bug of QEMU says whether QEMU or the target is to blame."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from tests.meta.toys import Finished, Toy

CASE, NUMBER = "1394_forks_and_lets_go", "1394"
"""A case of `qbdcheck.catalogue.qemu_bugs`: fixed in 7.2.5."""
FAILS = "assert False, 'the server keeps descriptors'"
DAMAGE = "disk.shadow.write(0, disk.shadow.stamped(0, 512)); disk.verify()"
"""Data that was never written."""


@pytest.fixture
def other(toy: Toy) -> Path:
    """A target whose volumes are files as well, with another name."""
    text = (ROOT / "targets" / "file.yaml").read_text()
    path = toy.directory / "other.yaml"
    path.write_text(text.replace("name: file\n", "name: other\n", 1))
    return path


def qemu(toy: Toy, version: str) -> None:
    """Let qemu-img say that it is of a version."""
    directory = toy.directory / "bin"
    directory.mkdir()
    real = shutil.which("qemu-img")
    program = directory / "qemu-img"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo "qemu-img version {version}"\n'
        f'exec {real} "$@"\n'
    )
    program.chmod(0o755)
    toy.environment["PATH"] = f"{directory}{os.pathsep}{toy.environment['PATH']}"


def ran(toy: Toy, target: Path, body: str, arguments: str = "new_disk") -> Finished:
    toy.case(CASE, body, arguments)
    return toy.run("-t", str(target), NUMBER, timeout_s=300)


def test_a_known_bug_of_the_release_in_use_is_not_run_and_names_it(toy: Toy, other: Path) -> None:
    qemu(toy, "7.2.1")
    done = ran(toy, other, FAILS)
    (reason,) = done.cases[CASE]["reasons"]
    assert done.verdict(CASE) == "not run"
    assert reason.startswith("QEMU 7.2.1 is to blame, not the target: qemu-nbd --fork keeps ")
    assert "fixed in 7.2.5" in reason and "docs/findings.md#" in reason
    assert reason.endswith("the case fails in the same way on plain files")
    assert not done.cases[CASE]["findings"]
    assert not (toy.cache / "last-run.jsonl").read_text().count("without-target")
    assert toy.left_over() == []


def test_a_release_that_should_have_the_fix_fails_and_is_accused(toy: Toy, other: Path) -> None:
    qemu(toy, "7.2.22")
    done = ran(toy, other, DAMAGE, "disk")
    case = done.cases[CASE]
    assert (done.code, done.verdict(CASE)) == (1, "fail")
    assert case["message"].startswith("QEMU 7.2.22 is to blame, not the target: the case fails in ")
    assert "fixed in 7.2.5" in case["message"]
    assert case["findings"] == []  # they would accuse the target
    assert "1 of 1 failures: QEMU 7.2.22 is to blame, not the target" in done.out


def test_a_target_that_fails_alone_is_to_blame(toy: Toy, other: Path) -> None:
    qemu(toy, "7.2.1")
    done = ran(toy, other, f"if target.description.name == 'other':\n    {DAMAGE}", "disk, target")
    case = done.cases[CASE]
    assert (done.code, done.verdict(CASE)) == (1, "fail")
    assert "QEMU 7.2.1" not in case["message"] and case["findings"]
    assert "The case passes on plain files with the same QEMU, without other." in case["details"]


def test_a_target_that_shows_other_damage_is_to_blame(toy: Toy, other: Path) -> None:
    qemu(toy, "7.2.1")
    done = ran(
        toy, other, f"if target.description.name == 'other':\n    {DAMAGE}\n{FAILS}", "disk, target"
    )
    assert (done.code, done.verdict(CASE)) == (1, "fail")
    assert "is to blame" not in done.cases[CASE]["message"] and done.cases[CASE]["findings"]


@pytest.mark.parametrize(("version", "verdict"), [("7.2.1", "not run"), ("7.2.22", "fail")])
def test_a_plain_file_is_no_target_to_blame(toy: Toy, version: str, verdict: str) -> None:
    qemu(toy, version)
    done = ran(toy, ROOT / "targets" / "file.yaml", FAILS)
    said = (*done.cases[CASE]["reasons"], done.cases[CASE]["message"])[0]
    assert done.verdict(CASE) == verdict
    assert said.startswith(f"QEMU {version} is to blame, not the target: ")


def test_another_case_is_not_run_again(toy: Toy, other: Path) -> None:
    toy.case("001_fails", FAILS)
    done = toy.run("-t", str(other), "1")
    assert done.verdict("001_fails") == "fail"
    assert "plain files" not in done.cases["001_fails"]["details"]
