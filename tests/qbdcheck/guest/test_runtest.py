"""LTP's runtest files and exit codes."""

from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.guest.runtest import Entry, as_kirk, must_pass, outcome, parse, summary
from qbdcheck.machine_speed import Load, StarvedError
from qbdcheck.report.events import TestEnded
from qbdcheck.runner.case_run import Result, progress_line, progress_of
from qbdcheck.verdict import Verdict

OWN = ROOT / "suites/guest/runtest"


def test_a_file_is_names_and_commands() -> None:
    text = "# comment\n\na01 a01 -x 'y z'\n\tb02\tb02.sh | cat\n"
    assert parse(text) == [Entry("a01", "a01 -x 'y z'"), Entry("b02", "b02.sh | cat")]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a b\nlonely\n", "x, line 2: 'lonely' has no command"), ("\n\n c\n", "line 3: 'c' has")],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text, "x")


def test_a_name_that_is_there_twice_is_two_tests() -> None:
    entries = parse("a true\nb true\na sleep 1\n")
    assert entries == [Entry("a", "true"), Entry("b", "true"), Entry("a", "sleep 1")]
    results = [TestEnded(f"{kind} {one.name}", "pass", 0.1) for kind in "xy" for one in entries]
    commands = [one["test"]["command"] for one in as_kirk(results, entries)["results"]]
    assert commands == ["true", "true", "sleep"] * 2


def test_a_test_that_timed_out_is_no_pass() -> None:
    results = [TestEnded("a", "pass", 0.1), TestEnded("b", "timed out", 5.0, "line\nkilled")]
    with pytest.raises(AssertionError, match="b: timed out: line / killed; in all 1 pass, 1 timed"):
        must_pass(results)
    report = as_kirk(results, [Entry("a", "x"), Entry("b", "y")])
    assert (report["stats"]["broken"], report["results"][1]["status"]) == (1, "brok")


@pytest.mark.parametrize("file", sorted(OWN.iterdir()), ids=lambda file: file.name)
def test_the_project_files_can_be_read(file: Path) -> None:
    assert len(parse(file.read_text(encoding="utf-8"), file.name)) >= 7


@pytest.mark.parametrize(
    ("status", "how"),
    [(0, "pass"), (1, "fail"), (2, "broken"), (4, "warn"), (6, "broken"), (32, "conf"),
     (33, "fail"), (36, "warn"), (127, "fail"), (137, "fail"), (16, "fail")],
)  # fmt: skip
def test_exit_codes_are_flags(status: int, how: str) -> None:
    assert outcome(status) == how


def test_a_suite_in_which_nothing_passed_fails() -> None:
    results = [TestEnded("a", "conf", 0.1), TestEnded("b", "conf", 0.1)]
    assert summary(results) == "2 conf"
    with pytest.raises(AssertionError, match="nothing passed: 2 conf"):
        must_pass(results)
    must_pass([*results, TestEnded("c", "pass", 0.1)])
    with pytest.raises(AssertionError, match="d: fail: it printed this; in all 2 conf, 1 fail"):
        must_pass([*results, TestEnded("d", "fail", 0.1, "it printed this\n")])


def test_the_headline_of_a_failed_test_has_the_lines_that_failed() -> None:
    said = "d 1 TFAIL: mount failed\n" + "d 2 TPASS: umount passed\n" * 60 + "failed   1\n"
    with pytest.raises(AssertionError, match=r"^d: fail: d 1 TFAIL: mount failed; in all 1 fail$"):
        must_pass([TestEnded("d", "fail", 0.1, said)])


LOAD = Load(10.0, 5.0, 0.9, 0.0, 0.0, 0.0, 0.0, 9.0, 2, 0.5, disk_busy=False)


def test_a_test_that_timed_out_on_a_starved_machine_is_no_failure_of_its_suite() -> None:
    late = TestEnded("dio30", "timed out", 99.0, "killed after 120 s", LOAD)
    passed = TestEnded("dio01", "pass", 1.0)
    with pytest.raises(StarvedError, match="dio30: timed out") as caught:
        must_pass([passed, late, passed])
    assert caught.value.load == LOAD
    for bad in (TestEnded("dio02", "fail", 1.0), TestEnded("dio03", "timed out", 99.0)):
        with pytest.raises(AssertionError, match=rf"{bad.name}: {bad.outcome}"):
            must_pass([late, bad, passed])


def test_the_load_of_a_test_survives_its_way_to_the_runner() -> None:
    late = TestEnded("dio30", "timed out", 99.0, "killed after 120 s", LOAD)
    assert progress_of(progress_line(late)) == late
    result = Result(Verdict.BROKEN, "starved", tests=(late,))
    assert Result.from_bytes(result.to_bytes()) == result


def test_kirk_reads_the_report() -> None:
    results = [TestEnded("ext4 a", "pass", 1.5), TestEnded("xfs a#2", "broken", 0.5, "it said")]
    report = as_kirk(results, [Entry("a", "aio -x 1")])
    assert report["stats"] == {
        "runtime": 2.0, "passed": 1, "failed": 0, "broken": 1, "skipped": 0, "warnings": 0,
    }  # fmt: skip
    assert report["results"][1] == {
        "test_fqn": "xfs a#2", "status": "brok",
        "test": {"command": "aio", "arguments": ["-x", "1"], "log": "it said", "duration": 0.5,
                 "result": "brok", "passed": 0, "failed": 0, "broken": 1, "skipped": 0,
                 "warnings": 0},
    }  # fmt: skip
