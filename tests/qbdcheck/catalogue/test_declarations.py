"""Declarations of cases that are kept from run to run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qbdcheck.catalogue import declarations
from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.catalogue.catalogue import list_cases

TEXT = '''"""This case checks that {what}."""
from qbdcheck.kit import case


@case(groups="rw", limit_s={limit_s}, basis=("SHOULD: NBD, Error values", "POLICY: no-late-write"))
def test(disk, golden):
    pass
'''


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are parsed; files count as settled at once."""
    names: list[str] = []
    parse = declarations.declaration_in

    def note(path: Path) -> declarations.Declaration:
        names.append(path.name)
        return parse(path)

    monkeypatch.setattr(declarations, "declaration_in", note)
    monkeypatch.setattr(declarations, "_SETTLED_S", -1.0)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return names


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    directory = tmp_path / "suites"
    (directory / "iotests").mkdir(parents=True)
    write(directory, "017_zero", "zeroes are zeroes")
    write(directory, "iotests/018_one", "ones are ones")
    return directory


def write(suites: Path, stem: str, what: str, limit_s: object = 20) -> Path:
    path = suites / f"{stem}.py"
    path.write_text(TEXT.format(what=what, limit_s=limit_s))
    return path


def kept_file(suites: Path) -> Path:
    (found,) = (suites / "__pycache__").glob("catalogue.*.json")
    return found


def sentences(cases: list[CaseInfo]) -> list[str]:
    return [case.sentence for case in cases]


def test_a_file_that_has_not_changed_is_not_parsed_again(suites: Path, parsed: list[str]) -> None:
    first = list_cases(suites)
    assert sorted(parsed) == ["017_zero.py", "018_one.py"]
    again = list_cases(suites)
    assert len(parsed) == 2
    assert again == first
    assert first[0].prints and first[0].spec.limit_s == 20


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text(TEXT.format(what="nothing else", limit_s=20)),
        lambda path: path.write_text(path.read_text().replace("ones are", "twos are")),
        lambda path: path.write_text("def test(:"),
    ],
)
def test_a_file_that_has_changed_is_parsed_again(
    suites: Path, parsed: list[str], change: Callable[[Path], object]
) -> None:
    list_cases(suites)
    path = suites / "iotests/018_one.py"
    times = path.stat()
    change(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # its ctime tells it
    parsed.clear()
    changed = list_cases(suites)
    assert parsed == ["018_one.py"]
    assert changed[1].sentence != "ones are ones"
    assert bool(changed[1].broken) == ("test(:" in path.read_text())
    write(suites, "iotests/018_one", "ones are ones again")
    assert sentences(list_cases(suites)) == ["zeroes are zeroes", "ones are ones again"]


def test_a_file_that_may_still_change_without_a_new_time_is_not_kept(
    suites: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declarations, "_SETTLED_S", 3600.0)
    list_cases(suites)
    list_cases(suites)
    assert len(parsed) == 4


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b'{"head": 1}', b'{"cases": {}}'])
def test_a_damaged_file_of_declarations_costs_only_time(
    suites: Path, parsed: list[str], text: bytes
) -> None:
    first = list_cases(suites)
    kept_file(suites).write_bytes(text)
    assert list_cases(suites) == first
    assert len(parsed) == 4
    assert list_cases(suites) == first
    assert len(parsed) == 4


def test_declarations_of_another_version_of_the_reader_are_not_used(
    suites: Path, parsed: list[str]
) -> None:
    first, path = list_cases(suites), kept_file(suites)
    path.write_text(path.read_text().replace('{"head": [[', '{"head": [[1'))
    assert list_cases(suites) == first
    assert len(parsed) == 4


def test_nothing_is_written_without_bytecode(
    suites: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    list_cases(suites)
    assert not (suites / "__pycache__").exists()


def test_a_place_that_cannot_be_written_costs_only_time(suites: Path, parsed: list[str]) -> None:
    (suites / "__pycache__").write_text("no directory")
    assert len(list_cases(suites)) == 2


def test_literals_that_json_does_not_give_back_are_read_each_time(
    suites: Path, parsed: list[str]
) -> None:
    write(suites, "019_odd", "odd", limit_s="{20}")
    first = list_cases(suites)
    assert first[2].broken
    assert list_cases(suites) == first
    assert parsed[3:] == ["019_odd.py"]
