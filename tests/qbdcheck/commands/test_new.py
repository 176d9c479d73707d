"""`./check new`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.commands.new import SUITES, main, new_case, stem_of
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT


def test_the_first_case_of_a_suite_gets_its_first_number(tmp_path: Path) -> None:
    path = new_case(tmp_path, "blkdebug", "enospc on the third write")
    assert path == tmp_path / "blkdebug" / "250_enospc_on_the_third_write.py"


def test_the_next_number_is_above_the_last_so_that_gaps_stay(tmp_path: Path) -> None:
    (tmp_path / "iotests").mkdir()
    new_case(tmp_path, "iotests", "first")
    (tmp_path / "iotests" / "001_first.py").rename(tmp_path / "iotests" / "017_first.py")
    assert new_case(tmp_path, "iotests", "second").name == "018_second.py"


def test_gaps_are_used_at_the_end_of_a_range_then_the_next_range(tmp_path: Path) -> None:
    folder = tmp_path / "network"
    folder.mkdir()
    for number in [*range(350, 360), *range(361, 400)]:
        (folder / f"{number}_x.py").write_text("")
    assert new_case(tmp_path, "network", "in the gap").name == "360_in_the_gap.py"
    assert new_case(tmp_path, "network", "four digits").name == "1350_four_digits.py"
    assert new_case(tmp_path, "network", "five").name == "1351_five.py"
    for number in range(1352, 1400):
        (folder / f"{number}_x.py").write_text("")
    with pytest.raises(UsageError, match="network has no free number in 350-399, 1350-1399"):
        new_case(tmp_path, "network", "one too many")


def test_the_next_case_of_the_real_iotests_has_four_digits(tmp_path: Path) -> None:
    """All three-digit numbers of the suite are used."""
    suites = tmp_path / "suites"
    shutil.copytree(ROOT / "suites", suites)
    shutil.copytree(ROOT / "qbdcheck", tmp_path / "qbdcheck")
    done = subprocess.run(
        [sys.executable, "-m", "qbdcheck", "new", "iotests", "four digits work"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    taken = [
        int(one.name[:4]) for one in (ROOT / "suites" / "iotests").glob("1[0-9][0-9][0-9]_*.py")
    ]
    assert path == suites / "iotests" / f"{max(taken) + 1}_four_digits_work.py"
    numbers = [one.number for one in list_cases(suites)]
    assert max(taken) + 1 in numbers
    assert numbers == sorted(numbers)


def test_the_skeleton_is_a_case_that_the_catalogue_accepts(tmp_path: Path) -> None:
    path = new_case(tmp_path, "iotests", "a discarded range reads as zeroes.")
    (info,) = list_cases(tmp_path, known_groups={"rw"})
    assert info.broken == ""
    assert info.sentence == "a discarded range reads as zeroes"
    compile(path.read_text(), str(path), "exec")
    assert len(path.read_text().splitlines()) <= 100


def test_no_line_of_a_skeleton_with_a_long_title_is_longer_than_the_style_allows(
    tmp_path: Path,
) -> None:
    path = new_case(tmp_path, "iotests", "words " * 40)
    lines = path.read_text().splitlines()
    assert [line for line in lines[1:] if len(line) > 100] == []


def test_an_unknown_suite_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown suite 'iotest'; did you mean iotests") as error:
        new_case(tmp_path, "iotest", "x")
    assert " ".join(SUITES) in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("title", ["", "  ", "!?"])
def test_a_title_without_words_is_refused(tmp_path: Path, title: str) -> None:
    with pytest.raises(UsageError, match="has no word"):
        new_case(tmp_path, "iotests", title)


def test_a_long_title_is_cut_between_words() -> None:
    stem = stem_of("a guest that writes while the mirror job drains sees each of its bytes again")
    assert stem == "a_guest_that_writes_while_the_mirror_job_drains_sees_each_of"
    assert stem_of("x" * 100) == "x" * 60


def test_a_directory_without_permission_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "iotests").write_text("a file where the directory should be")
    with pytest.raises(UsageError, match=r"cannot write .*iotests"):
        new_case(tmp_path, "iotests", "x")


def test_the_command_prints_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["iotests", "two", "words"], tmp_path) == 0
    assert capsys.readouterr().out == f"{tmp_path}/iotests/001_two_words.py\n"
    with pytest.raises(UsageError, match=r"usage: ./check new SUITE"):
        main(["iotests"], tmp_path)


def test_suite_ranges_do_not_overlap() -> None:
    ranges = sorted(one for of_suite in SUITES.values() for one in of_suite)
    bounds = [bound for first_last in ranges for bound in first_last]
    assert bounds == sorted(set(bounds))


def test_a_second_range_is_the_first_one_plus_1000() -> None:
    for suite, ((first, last), *more) in SUITES.items():
        if more and suite != "iotests":
            assert more == [(first + 1000, last + 1000)], suite
    assert SUITES["iotests"] == ((1, 199), (1000, 1199))
