"""The findings of the doctor, the cases that they affect, and its exit code."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.commands.doctor.cost import cases_by_program, number_ranges
from qbdcheck.commands.doctor.visit import Findings, closing_lines, main
from qbdcheck.errors import UsageError
from qbdcheck.report.host import file_system, host_facts, run_environment
from qbdcheck.report.versions import Installed, inspect_program, is_older

CASE = '''"""This case checks that {what}."""
from qbdcheck.kit import case


@case(groups="{groups}", programs="{programs}")
def test({fixtures}): ...
'''


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """Three cases: one quick, one with fio, one with a storage daemon."""
    folder = tmp_path / "suites" / "iotests"
    folder.mkdir(parents=True)
    for number, groups, programs, fixtures in (
        (1, "rw quick", "", "disk, qemu_io"),
        (2, "rw", "fio", "disk"),
        (4, "jobs quick", "", "disk, storage_daemon"),
    ):
        text = CASE.format(what="x", groups=groups, programs=programs, fixtures=fixtures)
        (folder / f"{number:03d}_x.py").write_text(text)
    return tmp_path / "suites"


def visit(suites: Path) -> tuple[int, str]:
    stream = io.StringIO()
    code = main(suites, stream, probe_limit_s=0.1)  # other tests probe accelerators
    return code, stream.getvalue()


def test_a_whole_machine_can_run_the_quick_group(suites: Path) -> None:
    code, text = visit(suites)
    assert code == 0, text
    assert "The quick group can run: ./check" in text
    assert "KVM" in text
    assert "O_DIRECT" in text


@pytest.mark.parametrize(
    ("version", "end"),
    [
        ("7.2.22", "10.0 (Debian 13), 11.1 (Debian 13 with backports)"),
        ("10.0.13", "10.0 (Debian 13), 11.1 (Debian 13 with backports)"),
        ("9.2.1", "(Debian 13 with backports); not with 9.2.1, which is installed"),
    ],
)
def test_the_verified_versions_of_qemu_are_named(version: str, end: str) -> None:
    programs = [Installed("qemu-img", "/usr/bin/qemu-img", version, "")]
    found = Findings(programs, {}, [], [], case_count=1)
    line = closing_lines(found)[0].text
    assert line.startswith("This release was verified with QEMU 7.2 (Debian 12)")
    assert line.endswith(end)


@pytest.mark.parametrize(
    ("version", "cases"),
    [("7.2.1", "125 174 1110-1112 1302 1392 1394"), ("7.2.14", "174 1111"),
     ("7.2.22", ""), ("10.0.13", ""), ("", "")],
)  # fmt: skip
def test_the_cases_that_find_bugs_of_the_installed_qemu_are_named(version: str, cases: str) -> None:
    programs = [Installed("qemu-img", "/usr/bin/qemu-img", version, "")]
    found = closing_lines(Findings(programs, {}, [], [], case_count=1))
    lines = [line.text for line in found if "may have bugs" in line.text]
    assert [line.partition("fixed: ")[2].partition(" (")[0] for line in lines] == (
        [cases] if cases else []
    )


def test_a_missing_program_costs_its_cases_and_has_one_mend(
    suites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    code, text = visit(suites)
    assert code == 2
    assert "Not run here: 3 of 3 cases: 001 002 004" in text
    (fix,) = [line for line in text.splitlines() if line.startswith("To install what is missing")]
    for package in ("qemu-utils", "nbdkit", "libnbd-bin", "fio"):
        assert package in fix or "dnf" in fix
    assert "The quick group cannot run as a whole: 001 004" in text


def test_a_qemu_too_old_is_named_with_its_version(
    suites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "qemu-img"
    old.write_text("#!/bin/sh\necho 'qemu-img version 5.2.0 (Debian 1:5.2+dfsg-11)'\n")
    old.chmod(0o755)
    monkeypatch.setenv("QEMU_IMG_PROG", str(old))
    code, text = visit(suites)
    assert code == 2
    assert f"qemu-img ({old}): too old: 5.2.0, needed is 6.0 or newer" in text


def test_a_program_that_does_not_start_is_not_taken_for_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "qemu-io"
    broken.write_text("#!/bin/sh\necho 'error while loading libaio.so.1' >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("QEMU_IO_PROG", str(broken))
    found = inspect_program("qemu-io")
    assert not found.is_usable
    assert found.fault == "does not start: error while loading libaio.so.1"


def test_no_case_is_not_a_machine_that_can_run(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    code, text = visit(tmp_path / "suites")
    assert code == 2
    assert "There is no case to run" in text
    with pytest.raises(UsageError, match="no such suites directory"):
        visit(tmp_path / "missing")


def test_every_installed_program_tells_its_version() -> None:
    for name in (
        "qemu-img",
        "qemu-io",
        "qemu-storage-daemon",
        "nbdkit",
        "nbdinfo",
        "fio",
        "ip",
        "certtool",
    ):
        found = inspect_program(name)
        assert found.is_usable, found
        assert found.version[0].isdigit()


def test_fixtures_and_declarations_say_which_programs_a_case_needs(suites: Path) -> None:
    needing = cases_by_program(list_cases(suites))
    numbers = {name: [one.number for one in cases] for name, cases in needing.items()}
    assert numbers == {
        "qemu-img": [1, 2, 4],
        "qemu-io": [1, 2, 4],
        "fio": [2],
        "qemu-storage-daemon": [4],
    }


@pytest.mark.parametrize(
    ("version", "minimum", "older"),
    [("5.2.0", "6.0", True), ("6.0", "6.0", False), ("10.0.1", "6.0", False), ("1", "", False)],
)
def test_versions_are_compared_as_numbers(version: str, minimum: str, older: bool) -> None:
    assert is_older(version, minimum) is older


def test_numbers_are_shown_as_ranges() -> None:
    assert number_ranges([7, 1, 2, 3, 9, 10]) == "001-003 007 009 010"
    assert number_ranges([]) == ""


def test_the_file_system_of_a_path_is_that_of_its_mount() -> None:
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(Path("/sys")) == "sysfs"


def test_the_header_of_a_run_names_qemu_kernel_and_scratch(tmp_path: Path) -> None:
    environment = run_environment(tmp_path)
    assert environment["qemu"][0].isdigit()
    assert environment["scratch"].startswith(f"{tmp_path} (")
    assert set(environment) == {"qbdcheck", "qemu", "kernel", "python", "cores", "scratch"}


def test_every_fact_that_is_bad_says_what_it_costs(tmp_path: Path) -> None:
    facts = {fact.name: fact for fact in host_facts(tmp_path)}
    assert {"kernel", "disk space", "O_DIRECT", "aio=native", "aio=io_uring"} <= set(facts)
    for fact in facts.values():
        assert fact.is_good or fact.cost
    assert not list(tmp_path.iterdir()), "a probe leaves no file"
