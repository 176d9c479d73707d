"""The causes of a run: from made failures, and from a real run against a real seeded bug."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from oracles.damage import Content, Damage, Operation, What, error
from oracles.finding import READ_WAS_WRONG, Finding
from oracles.life import Moment
from qbdcheck.files import ROOT
from qbdcheck.machine_speed import Load
from qbdcheck.report.causes import Contradiction, causes_of, suspects
from qbdcheck.report.events import CaseEnded, RunEnded
from qbdcheck.report.summary import cause_lines
from qbdcheck.verdict import Verdict

ZEROES = Content(What.ZEROES)
DATA = Content(What.DATA)
CLAIM = Contradiction("write_zeroes", "offset 65536: never written, expected zeroes")


def wrong(damage: Damage, by: str = "write", number: int = 5, **fields: object) -> Finding:
    last = (Operation(number, 4096, 4096, by),)
    base: dict[str, object] = {
        "offset": 4096, "length": 4096, "expected": DATA, "last_writes": last,
    }  # fmt: skip
    return Finding(damage, **{**base, **fields})  # type: ignore[arg-type]


def fails(runs: ModuleType, number: int, *findings: Finding, message: str = "") -> CaseEnded:
    made: CaseEnded = runs.ended(
        number,
        Verdict.FAIL,
        message=message or str(findings[0]),
        findings=findings,
        rerun=f"./check {number}",
    )
    return made


def test_failures_with_the_same_words_are_named_by_them(runs: ModuleType) -> None:
    cases = [
        fails(runs, number, message=f"the list has {number} names, expected one more")
        for number in (2, 30)
    ]
    (cause,) = causes_of(cases)
    assert cause.title == "the same message: the list has 2 names, expected one more"


def test_starved_cases_have_one_cause_that_says_nothing_about_the_target(
    runs: ModuleType,
) -> None:
    load = Load(10.0, 5.0, 0.9, None, None, 0.0, 0.0, 9.0, 2, 0.5, False)
    cases = [
        replace(
            fails(runs, number, message=f"starved: ...; {what} in time"),
            verdict=Verdict.BROKEN,
            starved=load,
        )
        for number, what in ((2, "0 of 4 requests"), (30, "no reply to a READ"))
    ]
    for some in (cases, cases[:1]):
        (cause,) = causes_of(some)
        assert cause.title == "the machine was starved, so nothing is known about the target"
    first, last = causes_of([*cases, fails(runs, 5, wrong(Damage.TORN))])
    assert (first.cases, last.cases) == (("005",), ("002", "030"))
    assert suspects(cases) == frozenset()


def test_data_of_an_unknown_kind_is_wrong_data(runs: ModuleType) -> None:
    (cause,) = causes_of([fails(runs, 5, wrong(Damage.UNKNOWN))])
    assert cause.title.startswith("reads return unknown data at places of writes")


def test_kinds_of_damage_are_listed(runs: ModuleType) -> None:
    kinds = Damage.ZEROED, Damage.STALE, Damage.UNKNOWN
    (cause,) = causes_of([fails(runs, 5, *(wrong(kind) for kind in kinds))])
    assert " or " in cause.title and cause.title.count(" or ") == 1
    assert cause.title == "reads return zeroes, older data or unknown data at places of writes"


def test_misdirected_data_explains_what_is_missing_elsewhere(runs: ModuleType) -> None:
    misdirected = wrong(Damage.MISDIRECTED, moved=4096)
    cases = [
        runs.ended(1, Verdict.PASS),
        fails(runs, 2, wrong(Damage.STALE)),
        fails(runs, 3, wrong(Damage.NEVER_WRITTEN), misdirected),
        fails(runs, 4, misdirected),
        fails(runs, 5, message="output differs from golden file 005"),
        fails(runs, 6, Finding(Damage.SIZE, expected=Content(What.BYTES, number=8))),
    ]
    first, second = causes_of(cases)
    assert (
        first.title
        == "data is at wrong places; it is 8 sectors too high; 2 other failures may follow from it"
    )
    assert (first.cases, first.failures, first.share) == (("002", "003", "004", "005"), 4, 0.8)
    assert first.read_first == "004"
    assert "misdirected" in first.example
    assert "last write there: #5 write" in first.example
    assert (second.cases, second.share) == (("006",), 0.2)


def test_the_output_of_a_test_in_the_guest_names_no_request_of_the_target(
    runs: ModuleType,
) -> None:
    said = "isofs: fail: isofs 2 TFAIL: mount -o loop,map=off,block=512 failed; in all 1 fail"
    (cause,) = causes_of([fails(runs, 542, message=said)])
    assert cause.title == "a test in the guest failed"


def test_a_success_where_an_error_is_due_is_named(runs: ModuleType) -> None:
    (cause,) = causes_of([fails(runs, 728, message="read 0 4096: expected an error, got success")])
    assert cause.title == "reads succeed where they must fail"


def test_a_title_has_no_trait_that_a_finding_contradicts(runs: ModuleType) -> None:
    torn = {"damage": Damage.TORN, "last_writes": (Operation(1, 0, 4096, "write zeroes"),)}
    zeroes = Finding(offset=512, length=512, **torn)  # type: ignore[arg-type]
    (cause,) = causes_of([fails(runs, 2, zeroes)])
    assert (
        cause.title == "reads return torn sectors at places of write zeroes requests; each place"
        " has at most 512 bytes"
    )
    longer = Finding(Damage.TORN, 8192, 52736, last_writes=(Operation(2, 0, 4096, "write"),))
    (cause,) = causes_of([fails(runs, 2, zeroes, longer)])
    assert cause.title == "reads return torn sectors"


def test_a_title_has_only_what_holds_for_all_failures(runs: ModuleType) -> None:
    after_a_cut = replace(fails(runs, 2, wrong(Damage.STALE)), groups=("states",))
    (cause,) = causes_of([after_a_cut, after_a_cut, after_a_cut, after_a_cut,
                          fails(runs, 3, wrong(Damage.STALE))])  # fmt: skip
    assert "power cut" not in cause.title


def test_a_false_claim_is_the_first_hypothesis(runs: ModuleType) -> None:
    cases = [
        fails(runs, 2, wrong(Damage.MISDIRECTED, moved=4096)),
        fails(runs, 3, wrong(Damage.MISDIRECTED, moved=4096)),
        fails(runs, 4, wrong(Damage.NEVER_WRITTEN, "write zeroes", expected=ZEROES)),
    ]
    assert "write_zeroes" in suspects(cases)
    assert "discard" not in suspects(cases)
    first, second = causes_of(cases, [CLAIM])
    assert (first.kind, first.cases) == ("contradiction", ("004",))
    assert first.title.startswith("the target claims write_zeroes, but its probe failed: offset")
    assert second.cases == ("002", "003")


def test_a_false_claim_explains_no_failure_of_the_handshake(runs: ModuleType) -> None:
    cases = [
        fails(runs, 4, wrong(Damage.NEVER_WRITTEN, "write zeroes", expected=ZEROES)),
        fails(runs, 5, message="the file differs"),
        fails(runs, 354, message="LIST with data: ACK, not ERR_INVALID"),
    ]
    first, second = causes_of(cases, [CLAIM])
    assert first.cases == ("004", "005")
    assert first.title.endswith("; 1 other failure may follow from it")
    assert second.cases == ("354",)


def test_a_false_claim_explains_no_wrong_answer_to_another_command(runs: ModuleType) -> None:
    closed = "the server closed the connection without a reply"
    cases = [
        fails(runs, 4, wrong(Damage.NEVER_WRITTEN, "write zeroes", expected=ZEROES)),
        fails(runs, 374, message=f"WRITE_ZEROES of 65536 bytes at offset 0: {closed}"),
        fails(runs, 14, message=f"READ of 0 bytes at offset 0: {closed}"),
    ]
    first, second = causes_of(cases, [CLAIM])
    assert first.cases == ("004", "374")
    assert second.cases == ("014",)


def test_a_false_claim_that_no_failure_fits_is_no_cause(runs: ModuleType) -> None:
    (only,) = causes_of([fails(runs, 2, wrong(Damage.STALE, "write"))], [CLAIM])
    assert only.kind == "pattern"


def test_a_claim_that_few_failures_fit_is_not_what_they_have_in_common(runs: ModuleType) -> None:
    lost = [fails(runs, number, wrong(Damage.STALE, "write")) for number in range(10, 19)]
    zeroes = fails(runs, 4, wrong(Damage.NEVER_WRITTEN, "write zeroes", expected=ZEROES))
    causes = causes_of([*lost, zeroes], [CLAIM])
    assert [one.kind for one in causes] == ["pattern"] * len(causes)
    three = [replace(zeroes, number=number) for number in (4, 5, 6)]
    assert causes_of([*lost, *three], [CLAIM])[0].kind == "contradiction"


def test_the_death_of_the_server_comes_before_what_follows_from_it(runs: ModuleType) -> None:
    died = Finding(
        Damage.DIED,
        request="READ of 512 bytes at 0",
        remark="server died: server s was killed by SIGABRT (s.c:7: Assertion `n > 0' failed.)",
        evidence=("request: READ of 512 bytes at 0: no reply",),
    )
    lost = Finding(Damage.PROTOCOL, remark="Connection reset by peer")
    eio = Finding(Damage.ERROR, expected=error(0), seen=error(5), request="read 0+512")
    cases = [fails(runs, 2, lost, died), fails(runs, 3, eio, died), fails(runs, 4, lost)]
    first, *others = causes_of(cases)
    assert first.title.startswith("server s was killed by SIGABRT (s.c:7: Assertion")
    assert first.cases[:2] == ("002", "003")
    assert first.example.startswith("READ of 512 bytes at 0: server died")
    assert [other.cases for other in others] == [("004",)]


def test_the_smallest_failing_script_is_named(runs: ModuleType, tmp_path: Path) -> None:
    scripts = []
    for number, size in ((2, 900), (3, 40)):
        script = tmp_path / str(number) / "repro" / "script.sh"
        script.parent.mkdir(parents=True)
        script.write_text("x" * size)
        scripts.append(script)
    cases = [
        runs.ended(
            number, Verdict.FAIL, message="no", findings=(wrong(Damage.STALE),),
            artefacts=(str(script), str(script.parent / "gone" / "script.sh")),
        )
        for number, script in zip((2, 3), scripts, strict=True)
    ]  # fmt: skip
    (cause,) = causes_of(cases)
    assert cause.script == str(scripts[1])
    ended = RunEnded(1.0, {"fail": 2}, 1, causes=(cause,))
    assert f"     smallest script: {scripts[1]}" in [line.plain for line in cause_lines(ended)]


def test_a_clean_run_has_no_cause(runs: ModuleType) -> None:
    assert causes_of([runs.ended(1, Verdict.PASS)], [CLAIM]) == ()
    assert cause_lines(RunEnded(1.0, {"pass": 1}, 0)) == []


def test_many_causes_end_in_one_of_all_others(runs: ModuleType) -> None:
    kinds = [Damage.MISDIRECTED, Damage.SIZE, Damage.LENGTH, Damage.HANG, Damage.BIT_FLIP,
             Damage.TRUNCATED, Damage.FOREIGN]  # fmt: skip
    cases = [fails(runs, n, Finding(kind, remark=kind.value)) for n, kind in enumerate(kinds, 1)]
    found = causes_of(cases)
    assert len(found) == 6
    assert found[-1].kind == "other"
    assert sum(cause.failures for cause in found) == len(kinds)


def check(place: Path, target: str, *cases: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run cases against a target; return the finished run, and the end of its JSON report."""
    done = subprocess.run(
        [sys.executable, "-m", "qbdcheck", "-t", target, *cases, "--seed", "1",
         "--json", str(place / "run.json")],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    return done, json.loads((place / "run.json").read_text())["end"]


def test_a_legal_oddity_has_no_cause_and_looks_like_nothing(tmp_path: Path) -> None:
    done, end = check(tmp_path, "mutant:control-discard-noop", "1", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (end["causes"], end["looks_like"]) == ([], [])
    assert "Causes" not in done.stdout
    assert "Looks like" not in done.stdout


def test_a_server_that_ignores_write_zeroes_is_one_cause(tmp_path: Path) -> None:
    """A real run: ten failures of one cause, a false claim, and lines of at most 80 columns."""
    cases = ["1", "30-33", "42", "46-47", "59", "60", "76"]
    done, end = check(tmp_path, "mutant:write-zeroes-noop", *cases)
    assert done.returncode == 1, done.stdout + done.stderr
    first = end["causes"][0]
    assert first["kind"] == "contradiction"
    assert "write_zeroes" in first["title"]
    assert first["share"] >= 0.9
    assert "command:write zeroes" in first["traits"]
    assert first["rerun"].startswith("./check -t mutant:write-zeroes-noop")
    assert end["looks_like"][0]["id"] == "write-zeroes-noop"
    assert "Looks like: write-zeroes-noop (" in done.stdout
    lines = done.stdout[done.stdout.index("Causes, the likely root first:") :].splitlines()
    whole = ("again:", "results:")  # a command and a path are not broken
    told = [line for line in lines if not line.strip().startswith(whole)]
    assert max(map(len, told)) <= 80
    assert f"read {first['read_first']} first:" in done.stdout


def test_what_a_power_cut_took_is_lost_in_the_title_as_on_the_page(runs: ModuleType) -> None:
    life = (Moment("write", 5, 0, 4096), Moment("cut"))
    gone = replace(wrong(Damage.NEVER_WRITTEN), life=life)
    (cause,) = causes_of([replace(fails(runs, 2, gone), groups=("crash", "states"))])
    assert cause.title.startswith("writes are lost after a power cut")
    (cause,) = causes_of([replace(fails(runs, 2, replace(gone, life=())), groups=("crash",))])
    assert cause.title.startswith("reads return what was there before at places of writes")


def lost_writes(seed: int) -> tuple[Finding, ...]:
    """Return the findings of a case that loses the writes from 1 MiB to 2 MiB, and no others."""
    chance = random.Random(seed)
    places = [chance.randrange(2048) * 4096 for _ in range(80)]
    every = [Operation(number, place, 4096, "write") for number, place in enumerate(places, 1)]
    right = tuple(one for one in every if one.offset >> 20 != 1)
    found = [
        wrong(
            kind,
            offset=one.offset,
            length=4096,
            last_writes=(one,),
            life=(Moment("write", one.number, one.offset, 4096), Moment("read", 0, 0, 8 << 20)),
        )
        for one, kind in zip(every, [Damage.STALE, Damage.ZEROED, Damage.NEVER_WRITTEN] * 30,
                             strict=False)
        if one not in right
    ]  # fmt: skip
    return replace(found[0], right_writes=right), *found[1:]


def test_a_condition_of_the_damaged_writes_is_one_cause_with_what_lies_there(
    runs: ModuleType,
) -> None:
    cases = [fails(runs, number, *lost_writes(number)) for number in (2, 3, 4)]
    status = "block status of 4096 bytes at 1572864: zero, after an acknowledged write"
    away = "block status of 4096 bytes at 6291456: zero, after an acknowledged write"
    (cause,) = causes_of([*cases, runs.ended(43, Verdict.FAIL, message=status)])
    assert cause.title.startswith("acknowledged writes are not there: reads return ")
    assert " damaged writes begin from 1 MiB on and before 2 MiB, none of " in cause.title
    assert cause.title.endswith("; 1 more at places where such data is missing or was put (043)")
    assert cause.cases == ("002", "003", "004", "043")
    _, other = causes_of([*cases, runs.ended(43, Verdict.FAIL, message=away)])
    assert other.cases == ("043",)


def test_a_client_that_reports_eio_follows_from_broken_replies_with_errors(
    runs: ModuleType,
) -> None:
    text = "a reply to cookie 0x1: it is cookie 0x2 with its bytes in reverse order"

    def broken(number: int, code: int) -> CaseEnded:
        wire = (f"received, 16 bytes: 67446698 {code:08x} 01000000 00000000",)
        return fails(runs, number, Finding(Damage.PROTOCOL, remark=text, evidence=wire))

    said = "write of 4096 bytes at 0: expected 'No space left on device', got 'Input/output error'"
    client = runs.ended(300, Verdict.FAIL, message=said)
    (cause,) = causes_of([*(broken(number, 5) for number in (1, 2, 3)), client])
    assert cause.title == (
        "replies break the protocol: all 3 broken replies have a cookie with its bytes in reverse"
        " order, all 3 report an error (EIO); 1 more where the client reports EIO instead (300)"
    )
    assert len(causes_of([*(broken(number, 0) for number in (1, 2, 3)), client])) == 2


def test_what_follows_from_a_displaced_write_is_not_in_the_title(runs: ModuleType) -> None:
    follower = replace(wrong(Damage.BIT_FLIP), follows="data of write #5 is 8 sectors too high")
    (cause,) = causes_of([fails(runs, 2, wrong(Damage.MISDIRECTED, moved=-512), follower)])
    assert cause.title.startswith("data is at wrong places; it is 1 sector too low")
    assert "bit flip" not in cause.title


def test_a_flush_that_kept_nothing_is_the_request_to_blame(runs: ModuleType) -> None:
    life = (Moment("write", 5, 0, 4096), Moment("flush"), Moment("cut"), Moment("read", 0, 0, 512))
    wanted = Content(What.STAMP, generation=3, operation=5)
    kinds = (Damage.STALE, Damage.ZEROED, Damage.NEVER_WRITTEN)
    cases = [
        fails(runs, number, replace(wrong(kind), life=life, expected=wanted))
        for number, kind in enumerate(kinds, 2)
    ]
    (cause,) = causes_of(cases)
    assert cause.title.startswith("flushes do not make data durable: 3 changes ")
    assert cause.title.endswith(
        ": 3 changes that were acknowledged and flushed are gone after a power cut"
    )
    (alone,) = causes_of(cases[:1])
    assert alone.title.startswith("flushed data is lost")


def test_no_flush_is_to_blame_where_writes_are_lost_without_a_power_cut(runs: ModuleType) -> None:
    """A write that was never carried out is also gone after a flush and a power cut."""
    write, read = Moment("write", 5, 4096, 4096), Moment("read", 0, 4096, 512)
    wanted = Content(What.STAMP, generation=3, operation=5)

    def gone(number: int, *life: Moment) -> CaseEnded:
        return fails(runs, number, wrong(Damage.STALE, expected=wanted, life=life))

    flushed = [gone(number, write, Moment("flush"), Moment("cut"), read) for number in range(3, 8)]
    (cause,) = causes_of(flushed)
    assert cause.title.startswith("flushed data is lost")
    assert "5 changes that were acknowledged and flushed are gone after a power cut" in cause.title
    at_once = [gone(number, write, read) for number in (1, 2)]
    (cause,) = causes_of([*at_once, *flushed])
    assert cause.title.startswith("acknowledged writes are not there")
    assert "flush" not in cause.title


def test_a_flush_that_hid_an_error_is_named(runs: ModuleType) -> None:
    life = (Moment("write", 5, 0, 4096), Moment("flush"), Moment("cut"), Moment("read", 0, 0, 512))
    wanted = Content(What.STAMP, generation=3, operation=5)
    cases = [
        fails(runs, number, wrong(Damage.STALE, expected=wanted, life=life)) for number in (2, 3, 4)
    ]
    text = "FLUSH on the connection to disk: expected an error, got success"
    hidden = Finding(Damage.ERROR, seen=error(0), remark=text)
    (cause,) = causes_of([*cases, fails(runs, 405, hidden)])
    assert cause.title.startswith("flushes do not make data durable, or end wrongly: ")
    assert cause.title.endswith(", a FLUSH that had to fail succeeded")


def test_a_failure_with_its_text_alone_has_that_as_its_cause(runs: ModuleType) -> None:
    (cause,) = causes_of([runs.ended(7, Verdict.FAIL, message="it is odd")])
    assert cause.title == "it is odd"
    (cause,) = causes_of(
        [
            runs.ended(7, Verdict.FAIL, message="it is odd"),
            runs.ended(8, Verdict.FAIL, message="it is even"),
        ]
    )
    assert cause.title == "2 failures with texts alone"


def test_kinds_that_are_all_older_data_are_called_so(runs: ModuleType) -> None:
    kinds = (Damage.STALE, Damage.NOT_LINEARIZABLE, Damage.NEVER_WRITTEN)
    cases = [
        replace(fails(runs, number, Finding(kind)), groups=("concurrent",))
        for number, kind in enumerate(kinds, 2)
    ]
    (cause,) = causes_of(cases)
    assert cause.title.startswith("reads return older data than was acknowledged: ")
    wrong_read = replace(Finding(Damage.ZEROED), evidence=(f"read again: {READ_WAS_WRONG}",))
    read = replace(fails(runs, 9, wrong_read), groups=("concurrent",))
    (cause,) = causes_of([cases[1], read])
    assert cause.title.startswith("reads return other data than is stored: ")


def test_wrong_reads_of_stored_data_are_no_lost_writes(runs: ModuleType) -> None:
    evidence = (f"read again: {READ_WAS_WRONG}",)
    reads = [
        fails(runs, number, replace(Finding(Damage.STALE), evidence=evidence)) for number in (5, 6)
    ]
    (cause,) = causes_of(reads)
    assert cause.title.startswith("reads return other data than is stored: older data")
    (cause,) = causes_of([*reads, fails(runs, 7, Finding(Damage.STALE))])
    assert "than is stored" not in cause.title


def test_failures_with_nothing_in_common_name_their_kinds(runs: ModuleType) -> None:
    kinds = (Damage.STALE, Damage.ZEROED, Damage.STALE)
    cases = [
        replace(fails(runs, number, Finding(kind)), groups=("crash",))
        for number, kind in enumerate(kinds, 2)
    ]
    (cause,) = causes_of(cases)
    assert cause.title == "different kinds of damage: stale (2), zeroed (1)"
    cases = [replace(case, message="wrong after the daemon was killed") for case in cases]
    (cause,) = causes_of(cases)
    assert cause.title == (
        "different kinds of damage: stale (2), zeroed (1); after a crash or a restart in 3 of 3"
    )


def test_lost_write_zeroes_requests_are_named_though_other_writes_came_later(
    runs: ModuleType,
) -> None:
    life = Moment("zero", 7, 4096, 4096), Moment("write", 8, 9000, 10), Moment("read", 0, 0, 8192)
    lost = wrong(Damage.STALE, life=life, expected=Content(What.ZEROES))
    (cause,) = causes_of([fails(runs, number, lost) for number in (2, 3)])
    assert "at places of write zeroes requests" in cause.title
