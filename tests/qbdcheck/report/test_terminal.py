"""The output on a real pseudo-terminal and without a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
from types import ModuleType

import pytest

from qbdcheck.report.events import CaseRetried, Event, RunEnded
from qbdcheck.report.summary import summary_lines
from qbdcheck.report.tally import Tally
from qbdcheck.report.terminal import Terminal
from qbdcheck.verdict import Verdict


def plain(events: list[Event], color: str = "auto") -> str:
    stream = io.StringIO()
    report = Terminal(stream, color)
    for event in events:
        report.handle(event)
        report.tick()
    report.close()
    return stream.getvalue()


def on_a_terminal(events: list[Event], color: str = "auto") -> str:
    """Return all bytes that the report writes to a pseudo-terminal, as text."""
    leader, follower = pty.openpty()
    received = bytearray()

    def drain() -> None:
        try:
            while data := os.read(leader, 65536):
                received.extend(data)
        except OSError:  # EIO: the other side is closed
            return

    reader = threading.Thread(target=drain)
    reader.start()
    with open(follower, "w", encoding="utf-8") as stream:  # noqa: PTH123  # a descriptor
        report = Terminal(stream, color)
        for event in events:
            report.handle(event)
            report.tick()
        report.close()
    reader.join(10)
    os.close(leader)
    return received.decode()


def test_output_has_one_line_per_case_like_qemu_iotests(runs: ModuleType) -> None:
    lines = plain(runs.mixed_run()).splitlines()
    assert "TARGET  -- reference" in lines
    (first,) = [line for line in lines if line.startswith("001")]
    assert re.fullmatch(r"001  pass      1\.2s \(last: 1\.1s\)\s+property 1 holds\.", first)
    (not_run,) = [line for line in lines if line.startswith("002")]
    assert "not run" in not_run
    assert "target lacks resize; program fio is missing # 1" in not_run


def test_the_header_names_seed_lanes_and_environment(runs: ModuleType) -> None:
    text = plain(runs.mixed_run())
    for name, value in {"SEED": "7", "QEMU": "7.2.22", "CASES": "5 on 2 lanes"}.items():
        assert re.search(rf"^{name} +-- {value}$", text, re.MULTILINE)


def test_the_summary_counts_and_groups_the_reasons(runs: ModuleType) -> None:
    lines = plain(runs.mixed_run()).splitlines()
    summary = lines[lines.index("Not run: 002") :]
    assert summary == [
        "Not run: 002",
        "  target lacks resize: 002",
        "  program fio is missing # 1: 002",
        "Some parts not run in: 005",
        "  005: multi_conn part: target lacks multi_conn",
        "Failures: 003",
        "  003: output line 2: expected '0 0x10000 data', got '0 0x20000 data'",
        "Broken: 004",
        "  004: CaseBroken: the fault never fired",
        "Failed 2 of 4 cases, 1 of them broken in 6.5s (mean 1.25s a case)",
    ]


def test_a_green_run_ends_with_passed_all(runs: ModuleType) -> None:
    cases = [runs.ended(number, Verdict.PASS, elapsed_s=number) for number in range(1, 8)]
    text = plain([runs.STARTED, *cases, RunEnded(9.0, {}, 0)])
    assert "Slowest: 007 7.0s, 006 6.0s, 005 5.0s, 004 4.0s, 003 3.0s\n" in text
    assert text.endswith("Passed all 7 cases in 9.0s (mean 4.00s a case)\n")


def test_an_interrupted_run_never_says_passed_all(runs: ModuleType) -> None:
    passed = [runs.STARTED, runs.ended(1, Verdict.PASS)]
    end = RunEnded(1.0, {}, 130, interrupted=True, stopped="SIGINT")
    text = plain([*passed, end])
    assert text.endswith("Interrupted after 1 of 5 cases; 1 passed in 1.0s (mean 1.25s a case)\n")
    assert "Passed all" not in text
    assert "\x1b[1;33mInterrupted after 1 of 5 cases; 1 passed" in plain([*passed, end], "on")
    failed = [*passed, runs.ended(2, Verdict.FAIL, message="m"), end]
    assert "\x1b[1;31mInterrupted after 2 of 5 cases; 1 failed, 1 passed" in plain(failed, "on")
    assert plain([runs.STARTED, end]).endswith("Interrupted after 0 of 5 cases; none ended\n")


def test_a_run_that_was_stopped_says_by_what(runs: ModuleType) -> None:
    late = "the time limit of the run has expired"
    events = [runs.STARTED, runs.ended(1, Verdict.PASS)]
    events += [runs.ended(number, Verdict.NOT_RUN, reasons=(late,)) for number in range(2, 6)]
    events += [RunEnded(1.0, {}, 1, interrupted=True, stopped=late)]
    assert f"Stopped ({late}) after 1 of 5 cases; 1 passed in" in plain(events)
    events = [runs.STARTED, runs.ended(1, Verdict.FAIL, message="m")]
    events += [RunEnded(1.0, {}, 1, stopped="--stop-after: 1 failure")]
    assert "Stopped (--stop-after: 1 failure) after 1 of 5 cases; 1 failed in" in plain(events)


def test_at_80_columns_the_cause_is_whole_and_lines_end_between_words(
    runs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cause = "the sector holds generation 4 of writer 2, but 7 was flushed and acknowledged; " * 2
    events = [
        runs.STARTED,
        runs.ended(1, Verdict.FAIL, message=cause.strip(), last_s=1.0, details=f"E   {cause}"),
        runs.ended(2, Verdict.PASS, sentence="word " * 40, last_s=1.0),
        runs.ended(3, Verdict.NOT_RUN, reasons=("the target lacks " + "it " * 40,)),
        RunEnded(1.0, {}, 1),
    ]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_a_terminal(events, "off"))
    lines = text.replace("\r", "").splitlines()
    assert max(map(len, lines)) <= 80
    at = next(index for index, line in enumerate(lines) if line.startswith("001"))
    shown = " ".join(line.strip() for line in lines[at : at + 3])
    assert shown == f"001  fail      1.2s  {cause.strip()}"
    assert next(line for line in lines if line.startswith("002")).endswith(" word...")
    assert "reference" not in "".join(lines[at:])
    summary = "\n".join(lines[lines.index("Failures: 001") :])
    assert cause.strip() in " ".join(summary.split())


def test_known_failures_are_shown_and_do_not_hide_in_the_passes(runs: ModuleType) -> None:
    known = runs.ended(2, Verdict.KNOWN, message="m", reasons=("known failure since 2026: slow",))
    text = plain([runs.STARTED, runs.ended(1, Verdict.PASS), known, RunEnded(1.0, {}, 0)])
    assert "\n002  known " in text
    assert "Known failures: 002\n  002: known failure since 2026: slow\n" in text
    assert "\nPassed 1 of 2 cases, 1 known failure in" in text


def test_durations_lists_the_slowest_cases_on_lines_of_their_own(runs: ModuleType) -> None:
    cases = [runs.ended(number, Verdict.PASS, elapsed_s=number) for number in range(1, 8)]
    tally = Tally()
    for event in (runs.STARTED, *cases, RunEnded(9.0, {}, 0)):
        tally.handle(event)
    lines = [line.plain for line in summary_lines(tally, durations=2)]
    assert lines[:3] == [
        "Slowest 2 of 7 cases:",
        "    7.00s  007  007_what_it_proves",
        "    6.00s  006  006_what_it_proves",
    ]
    assert len(summary_lines(tally, durations=0)) == 1 + 7 + 1


def test_a_retried_case_shows_its_rates(runs: ModuleType) -> None:
    failed = runs.ended(1, Verdict.FAIL, message="m")
    retried = CaseRetried("001_what_it_proves", 1, "raw", 20, 20, 20, 3, (5, 6, 7))
    text = plain([runs.STARTED, failed, retried, RunEnded(1.0, {}, 1)])
    rate = "again, alone: failed 3 of 20, with this seed 20 of 20"
    assert f"\n001: {rate}\n" in text
    assert f"  001: m ({rate})\n" in text


def test_a_run_without_cases_is_not_reported_as_passed(runs: ModuleType) -> None:
    text = plain([runs.STARTED, runs.ended(1, Verdict.NOT_RUN), RunEnded(1.0, {}, 2)])
    assert text.endswith("No case was run\n")
    assert "no reason was given: 001" in text


def test_a_matrix_names_cases_with_their_format(runs: ModuleType) -> None:
    events = [
        runs.STARTED,
        runs.ended(1, Verdict.PASS),
        runs.ended(1, Verdict.FAIL, image_format="qcow2", message="m"),
        RunEnded(1.0, {}, 1),
    ]
    assert "Failures: 001-qcow2\n" in plain(events)


def test_a_failure_shows_sentence_diff_rerun_command_and_files(runs: ModuleType) -> None:
    text = plain(runs.mixed_run())
    block = text[text.index("---- 003_what_it_proves raw: fail") :]
    assert "checks that property 3 holds." in block
    assert "-0 0x10000 data\n+0 0x20000 data\n" in block
    assert "again  ./check --seed 7 3" in block
    assert "file   /tmp/qscratch/003/full.log" in block, "the person at the terminal opens it"


def test_no_escape_sequence_of_a_case_reaches_the_terminal(runs: ModuleType) -> None:
    text = plain(runs.mixed_run())
    assert "\x1b" not in text
    assert r"\x00\x1b[31m" in text


def test_colours_are_used_only_on_terminals_or_on_request(runs: ModuleType) -> None:
    assert "\x1b[31m-0 0x10000 data" in plain(runs.mixed_run(), "on")
    assert "\x1b[31m-0 0x10000 data" in on_a_terminal(runs.mixed_run())
    assert "\x1b" not in on_a_terminal(runs.mixed_run(), "off")


def test_a_terminal_shows_running_lanes_and_restores_the_cursor(
    runs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    before = threading.enumerate()
    text = on_a_terminal(runs.mixed_run())
    assert "1: 001_what_it_proves raw" in text
    assert "1 passed  1 failed  1 not run" in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert threading.enumerate() == before, "a refresh thread would make fork unsafe"


def test_the_progress_keeps_to_one_line_of_80_columns(
    runs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    verdicts = (Verdict.PASS, Verdict.FAIL, Verdict.NOT_RUN, Verdict.BROKEN)
    ended = [runs.ended(number, verdicts[number % 4]) for number in range(1, 21)]
    shown = on_a_terminal([runs.mixed_run()[0], *ended], "on")
    bars = [line for line in re.split(r"[\r\n]+", shown) if "left" in line and "passed" in line]
    assert any("5 not run" in line and "5 broken" in line for line in bars)
    assert all(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)) <= 80 for line in bars)


def test_tests_of_a_guest_are_counted_and_those_that_did_not_pass_named(runs: ModuleType) -> None:
    assert "     tests in the guest: 1 pass, 1 conf: ext4 dio02 (conf)\n" in plain(
        runs.run_with_tests()
    )
