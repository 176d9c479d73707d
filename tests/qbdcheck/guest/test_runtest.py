"""LTP's runtest files, exit codes and trees."""

import tarfile
from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.guest.runtest import Entry, LtpTree, TestResult, must_pass, outcome, parse, summary

OWN = Path(__file__).parents[3] / "suites/guest/runtest"


def test_a_file_is_names_and_commands() -> None:
    text = "# comment\n\na01 a01 -x 'y z'\n\tb02\tb02.sh | cat\n"
    assert parse(text) == [Entry("a01", "a01 -x 'y z'"), Entry("b02", "b02.sh | cat")]


@pytest.mark.parametrize(
    ("text", "words"),
    [("a b\nlonely\n", "x, line 2: 'lonely' has no command"), ("a b\na c", "line 2: 'a' is there")],
)
def test_errors_name_the_line(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(text, "x")


@pytest.mark.parametrize("file", sorted(OWN.iterdir()), ids=lambda file: file.name)
def test_our_own_files_are_sound(file: Path) -> None:
    assert len(parse(file.read_text(encoding="utf-8"), file.name)) >= 7


@pytest.mark.parametrize(
    ("status", "how"),
    [(0, "pass"), (1, "fail"), (2, "broken"), (4, "warn"), (6, "broken"), (32, "conf"),
     (33, "fail"), (36, "warn"), (127, "fail"), (137, "fail"), (16, "fail")],
)  # fmt: skip
def test_exit_codes_are_flags(status: int, how: str) -> None:
    assert outcome(status) == how


def test_a_suite_in_which_nothing_passed_is_not_green() -> None:
    results = [TestResult("a", "conf", "", 0.1), TestResult("b", "conf", "", 0.1)]
    assert summary(results) == "2 conf"
    with pytest.raises(AssertionError, match="nothing passed: 2 conf"):
        must_pass(results)
    must_pass([*results, TestResult("c", "pass", "", 0.1)])
    with pytest.raises(AssertionError, match="d: fail: it said this; in all 2 conf, 1 fail"):
        must_pass([*results, TestResult("d", "fail", "it said this\n", 0.1)])


def make_tree(place: Path) -> Path:
    (place / "runtest").mkdir(parents=True)
    (place / "testcases/bin").mkdir(parents=True)
    (place / "runtest/dio").write_text("dio01 dio01 -x\n", encoding="utf-8")
    text = "aio01 aio01\naio02 aio02\nother other\n"
    (place / "runtest/ltp-aiodio.part4").write_text(text, encoding="utf-8")
    return place


def test_a_tree_has_groups_and_aliases(tmp_path: Path) -> None:
    tree = LtpTree(make_tree(tmp_path / "tree"), tmp_path)
    assert tree.entries("dio") == [Entry("dio01", "dio01 -x")]
    assert [entry.name for entry in tree.entries("io")] == ["aio01", "aio02"]
    with pytest.raises(UsageError, match=r"no runtest/fs; there are dio, ltp-aiodio\.part4"):
        tree.entries("fs")


def test_a_tree_may_be_a_tar_file(tmp_path: Path) -> None:
    file = tmp_path / "ltp.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        archive.add(make_tree(tmp_path / "tree"), "opt/ltp")
    assert LtpTree(file, tmp_path / "scratch").entries("dio")
    (tmp_path / "no.tar").write_bytes(b"no")
    with pytest.raises(UsageError, match="give a tar file"):
        LtpTree(tmp_path / "no.tar", tmp_path / "other")
    with pytest.raises(UsageError, match="give what LTP's `make install` made"):
        LtpTree(tmp_path, tmp_path)
