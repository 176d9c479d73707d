"""The verdicts of errors: FAIL for the target's faults, BROKEN for mistakes in the case."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck import machine_speed
from qbdcheck.errors import CaseBroken, NotReadyError, NotRun, ProgramError, SetupError
from qbdcheck.guest.guest import GuestFailed
from qbdcheck.machine_speed import Machine, StarvedError
from qbdcheck.programs.qmp import QmpFailed
from qbdcheck.runner.case_run import Result
from qbdcheck.runner.verdict_rules import apply_deviation, judge, worse
from qbdcheck.targets.profile_parts import Deviation
from qbdcheck.verdict import Verdict
from tests.proc_files import write_proc


@pytest.fixture(autouse=True)
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of an idle machine."""
    files = write_proc(tmp_path / "proc")
    monkeypatch.setattr(machine_speed, "THIS", Machine(files, tmp_path, cores=2))
    return files


@pytest.fixture
def starved(proc: Path) -> None:
    machine_speed.THIS.work_s()
    write_proc(proc, waiting_us={"cpu": 10**9}, runnable=9)


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("1 != 2"), ProgramError("qemu-io died", ["qemu-io"], -6), TimeoutError(),
        ConnectionResetError(104, "reset"), EOFError(), OSError(5, "EIO"), ValueError("odd"),
        SystemExit(0), RuntimeError("x"), SetupError("does not restart"),
    ],
)  # fmt: skip
def test_errors_that_a_target_can_cause_are_fail(error: BaseException) -> None:
    assert judge(error, "call", "trace").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "error",
    [
        NameError("x"), TypeError("x"), AttributeError("x"), ImportError("x"), KeyError("x"),
        IndexError("x"), ZeroDivisionError(), CaseBroken("no fault fired"), NotImplementedError(),
    ],
)  # fmt: skip
def test_errors_that_only_a_mistake_in_the_case_can_cause_are_broken(error: BaseException) -> None:
    assert judge(error, "call", "trace").verdict is Verdict.BROKEN


def test_every_error_of_an_import_is_broken() -> None:
    result = judge(SystemExit(3), "collect", "trace")
    assert (result.verdict, result.message) == (Verdict.BROKEN, "cannot be imported: SystemExit: 3")


def test_all_reasons_for_not_running_are_kept() -> None:
    result = judge(NotRun("no disk", "no time"), "setup", "")
    assert (result.verdict, result.reasons) == (Verdict.NOT_RUN, ("no disk", "no time"))


def test_only_a_set_up_error_in_the_set_up_ends_a_run() -> None:
    assert judge(SetupError("target does not start"), "setup", "").setup_failed
    assert not judge(SetupError("target does not restart"), "call", "").setup_failed
    assert not judge(ProgramError("x", ["x"], 1), "setup", "").setup_failed


def test_the_message_is_one_line_and_names_the_type_where_the_text_says_little() -> None:
    assert judge(AssertionError("1 != 2\n + where"), "call", "").message == "1 != 2"
    assert judge(ValueError("odd"), "call", "").message == "ValueError: odd"
    assert judge(TimeoutError(), "teardown", "").message == "in teardown: TimeoutError"
    sentence = "READ of 8 bytes: the server sent nothing for 30 s"
    assert judge(TimeoutError(sentence), "call", "").message == sentence


def test_the_failure_of_the_call_comes_before_that_of_the_teardown() -> None:
    call = Result(Verdict.FAIL, "lost write", "sector 5")
    teardown = Result(Verdict.FAIL, "in teardown: busy", "trace")
    both = worse(call, teardown)
    assert both.message == "lost write"
    assert "in teardown: busy" in both.details
    assert worse(Result(Verdict.PASS), teardown) is teardown
    assert worse(Result(Verdict.NOT_RUN, reasons=("x",)), Result(Verdict.PASS)).reasons == ("x",)


def test_a_result_is_decoded_from_the_pipe_and_a_truncated_one_is_not() -> None:
    result = Result(Verdict.FAIL, "m\n\udcff", "d" * 10, ("r",), ("p",), True)
    data = result.to_bytes()
    assert Result.from_bytes(data) == result
    for cut in (0, 1, len(data) // 2, len(data) - 1):
        assert Result.from_bytes(data[:cut]) is None
    assert Result.from_bytes(b"[]") is None
    assert Result.from_bytes(b'{"verdict": "SUPER"}') is None


LATE = [
    TimeoutError("timed out"), NotReadyError("not ready within 10 s"),
    ProgramError("qemu-io did not answer within 30 s: read", ["qemu-io"], None),
    GuestFailed("'fio' did not end within 60 s", ["qemu"], None, timed_out=True),
]  # fmt: skip


@pytest.mark.usefixtures("starved")
@pytest.mark.parametrize("error", LATE)
def test_a_limit_that_is_exceeded_while_the_machine_is_starved_is_broken(
    error: BaseException,
) -> None:
    result = judge(error, "call", "trace")
    assert result.verdict is Verdict.BROKEN
    assert result.message.startswith("starved: ") and str(error) in result.message
    assert result.starved is not None and result.starved.is_starved
    assert (result.findings, result.setup_failed) == ((), False)


@pytest.mark.usefixtures("starved")
@pytest.mark.parametrize(
    "error",
    [
        AssertionError("1 != 2"), ConnectionResetError(104, "reset"),
        ProgramError("qemu-io died", ["qemu-io"], -6), QmpFailed("x", "GenericError", "no"),
    ],
)  # fmt: skip
def test_what_is_no_limit_fails_on_a_starved_machine_as_well(error: BaseException) -> None:
    assert judge(error, "call", "trace").verdict is Verdict.FAIL


@pytest.mark.usefixtures("starved")
@pytest.mark.parametrize("late", LATE)
def test_a_crash_is_not_slowness_even_if_a_peer_reports_no_answer(late: BaseException) -> None:
    crash = ProgramError("vm: connection lost; qemu was killed by SIGABRT", ["qemu"], -6)
    crash.__context__ = late
    result = judge(crash, "call", "trace")
    assert result.verdict is Verdict.FAIL
    assert [finding.damage for finding in result.findings] == [Damage.DIED]


@pytest.mark.usefixtures("starved")
def test_wrong_data_counts_more_than_a_limit_that_was_exceeded_with_it() -> None:
    error = AssertionError("lost")
    error.findings = [Finding(Damage.STALE, 0, 512)]  # type: ignore[attr-defined]
    error.__context__ = TimeoutError()
    assert judge(error, "call", "").verdict is Verdict.FAIL


@pytest.mark.parametrize("error", LATE)
def test_a_limit_that_is_exceeded_on_an_idle_machine_is_no_excuse(error: BaseException) -> None:
    assert judge(error, "call", "trace").verdict is Verdict.FAIL


@pytest.mark.parametrize(("at_work", "verdict"), [(True, Verdict.BROKEN), (False, Verdict.FAIL)])
def test_a_program_that_works_until_its_limit_is_too_slow_and_does_not_hang(
    at_work: bool, verdict: Verdict
) -> None:
    error = ProgramError("qemu-img did not end within 30 s", [], None, at_work=at_work)
    result = judge(error, "call", "trace")
    assert result.verdict is verdict
    assert ("It is too slow for this limit" in result.message) is at_work
    assert bool(result.findings) is not at_work


def test_an_error_that_knows_of_a_starved_machine_is_broken_when_it_is_idle_again(
    proc: Path,
) -> None:
    machine_speed.THIS.work_s()
    write_proc(proc, waiting_us={"cpu": 10**9}, runnable=9)
    error = StarvedError("ext4 dio30: timed out", machine_speed.THIS.recent())
    machine_speed.THIS = Machine(write_proc(proc), proc.parent, cores=2)
    assert not machine_speed.THIS.recent().is_starved
    result = judge(error, "call", "details")
    assert (result.verdict, result.starved) == (Verdict.BROKEN, error.load)
    assert "ext4 dio30: timed out" in result.message


@pytest.mark.parametrize(
    ("verdict", "sometimes", "expected"),
    [
        (Verdict.FAIL, False, Verdict.NOT_RUN),
        (Verdict.FAIL, True, Verdict.NOT_RUN),
        (Verdict.PASS, False, Verdict.FAIL),
        (Verdict.PASS, True, Verdict.PASS),
        (Verdict.BROKEN, True, Verdict.BROKEN),
        (Verdict.NOT_RUN, True, Verdict.NOT_RUN),
    ],
)
def test_a_known_failure_is_not_run_and_a_pass_is_right_only_if_it_depends_on_timing(
    verdict: Verdict, sometimes: bool, expected: Verdict
) -> None:
    known = Deviation(case="1", finding="a-server-hangs", sometimes=sometimes)
    result = apply_deviation(Result(verdict, "seen"), known)
    assert result.verdict is expected
    if verdict is Verdict.FAIL:
        assert result.reasons == ("known deviation: docs/findings.md#a-server-hangs",)


@pytest.mark.parametrize(
    ("found", "sometimes", "damage", "expected"),
    [
        (Damage.HANG, True, [], Verdict.NOT_RUN),
        (Damage.ZEROED, True, [], Verdict.FAIL),
        (Damage.ZEROED, True, [Damage.ZEROED], Verdict.NOT_RUN),
        (Damage.ZEROED, False, [], Verdict.NOT_RUN),
        (Damage.ZEROED, False, [Damage.HANG], Verdict.FAIL),
    ],
)
def test_other_damage_than_the_known_one_is_a_failure(
    found: Damage, sometimes: bool, damage: list[Damage], expected: Verdict
) -> None:
    known = Deviation(case="1", finding="a-server-hangs", sometimes=sometimes, damage=damage)
    failed = Result(Verdict.FAIL, "seen", findings=(Finding(found),))
    assert apply_deviation(failed, known).verdict is expected


@pytest.mark.usefixtures("starved")
@pytest.mark.parametrize("sometimes", [False, True])
def test_a_known_hang_on_a_starved_machine_is_the_known_failure(sometimes: bool) -> None:
    late = judge(ProgramError("no answer", ["qemu-io"], None, timed_out=True), "call", "trace")
    assert late.starved is not None
    known = Deviation(case="1", finding="a-server-hangs", sometimes=sometimes)
    expected = Verdict.NOT_RUN if sometimes else Verdict.BROKEN
    assert apply_deviation(late, known).verdict is expected
