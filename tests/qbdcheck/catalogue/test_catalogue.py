"""Listing of cases without importing them."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.catalogue.case import case, make_spec, spec_of
from qbdcheck.catalogue.catalogue import first_sentence, list_cases, read_case
from qbdcheck.errors import UsageError

GOOD = '''"""This case checks that zeroes are zeroes, e.g. after a discard. More text.

Guards: nothing.
"""
import no_such_module
from qbdcheck.kit import case


@case(groups="rw quick", requires="flush", programs="fio", formats="raw qcow2", limit_s=20)
def test(disk):
    raise SystemExit
'''


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


def test_a_case_is_read_without_import(tmp_path: Path) -> None:
    info = read_case(write(tmp_path, "017_zero.py", GOOD), ["rw", "quick"])
    assert (info.number, info.case_id, info.broken) == (17, "017_zero", "")
    assert info.sentence == "zeroes are zeroes, e.g. after a discard"
    assert info.spec == make_spec("rw quick", "flush", "fio", "raw qcow2", 20)
    assert (info.spec.supports("qcow2"), info.spec.supports("vmdk")) == (True, False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('groups="rw quick"', 'groups="rw quik"', "unknown group 'quik'; known: quick rw"),
        ('groups="rw quick"', 'groups=""', "at least one group"),
        ('requires="flush"', 'requires="flash"', "unknown capability 'flash'"),
        ('formats="raw qcow2"', 'formats="qcow3"', "unknown format 'qcow3'"),
        ('formats="raw qcow2"', 'formats=""', "formats is empty"),
        ("limit_s=20", "limit_s=0", "it must be above 0 seconds"),
        ("limit_s=20", 'basis="MUST: NBD"', "names no section"),
        ("limit_s=20", 'basis="POLICY: other"', "unknown policy 'other'"),
        ("limit_s=20", "limit_s=LIMIT", "argument 'limit_s' is not a literal"),
        ("limit_s=20", "limits=20", "unknown argument 'limits'"),
        ('groups="rw quick", ', "", "missing 1 required positional argument: 'groups'"),
        ("@case", "@other.thing", "has 0 functions with @case"),
        ("def test(disk):", "def test(disk:", "cannot be read"),
        ('"""This case checks that zero', '"""', ""),
    ],
)
def test_a_fault_in_a_case_makes_it_broken_with_its_reason(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    info = read_case(write(tmp_path, "017_zero.py", GOOD.replace(old, new)), ["rw", "quick"])
    assert message in info.broken


def test_two_cases_in_one_file_are_refused(tmp_path: Path) -> None:
    again = GOOD[GOOD.index("@case") :]
    info = read_case(write(tmp_path, "017_zero.py", GOOD + "\n\n" + again))
    assert "has 2 functions with @case" in info.broken


def test_two_cases_with_one_number_are_an_error_that_names_both(tmp_path: Path) -> None:
    write(tmp_path, "017_zero.py", GOOD)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "017_other.py", GOOD)
    with pytest.raises(
        UsageError, match=r"two cases have the number 017: 017_zero\.py and sub/017_o"
    ):
        list_cases(tmp_path)


def test_other_files_are_not_cases(tmp_path: Path) -> None:
    for name in (
        "17_short.py",
        "017_zero.txt",
        "12345_long.py",
        "0123_zero.py",
        "017.py",
        "conftest.py",
    ):
        write(tmp_path, name, GOOD)
    assert list_cases(tmp_path) == []
    with pytest.raises(UsageError, match="no such suites directory"):
        list_cases(tmp_path / "none")


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("This case checks that a is b.", "a is b"),
        ("This case checks that\na is b, over\ntwo lines.\n\nHow: c.", "a is b, over two lines"),
        ("Sizes of 1.5 MiB work. And more.", "Sizes of 1.5 MiB work"),
        ("", ""),
    ],
)
def test_the_sentence_of_a_case(docstring: str, sentence: str) -> None:
    assert first_sentence(docstring) == sentence


def test_the_decorator_checks_its_arguments_and_does_not_change_the_function() -> None:
    @case(groups="rw")
    def test() -> int:
        return 5

    spec = spec_of(test)
    assert spec is not None
    assert (spec.groups, spec.formats, spec.limit_s, test()) == (("rw",), ("raw",), 60.0, 5)
    with pytest.raises(ValueError, match="unknown capability 'flash'"):
        case(groups="rw", requires="flash")
    assert spec_of(len) is None
