"""The comparison of a run with the fingerprints of seeded bugs."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import ModuleType

import pytest

from mutants.catalogue import catalogue
from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.errors import UsageError
from qbdcheck.report import fingerprints, likeness
from qbdcheck.report.fingerprints import Fingerprints, Outcome, Sample
from qbdcheck.verdict import Verdict

PASS = Outcome()
STALE = Outcome("fail", ("stale",), "write")
MOVED = Outcome("fail", ("misdirected", "stale"), "write")
HANGS = Outcome("fail", ("hang",), "flush; no answer")


def sample(name: str, group: str = "g", seed: int = 1, **cases: Outcome) -> Sample:
    return Sample(name, group, seed, cases={case.strip("_"): one for case, one in cases.items()})


KNOWN = Fingerprints(
    [
        sample("lost", _1=STALE, _2=STALE, _3=PASS, _4=PASS),
        sample("moved", _1=MOVED, _2=MOVED, _3=MOVED, _4=PASS),
        sample("stuck", _1=PASS, _2=PASS, _3=PASS, _4=HANGS),
        sample("other", _1=PASS, _2=STALE, _3=PASS, _4=PASS),
        Sample("legal", "controls", 1, cases={"1": STALE}, control=True),
        sample("alive", _1=PASS),
    ]
)


def test_the_same_failures_score_one_and_others_less() -> None:
    first, *others = KNOWN.compare({"1": MOVED, "2": MOVED, "3": MOVED, "4": PASS})
    assert (first.id, round(first.score, 6), first.explained) == ("moved", 1.0, 1.0)
    assert set(first.shared) == {"1", "2", "3"}
    assert [other.id for other in others] == ["lost", "other"]
    assert others[0].score < 0.6


def test_a_case_that_was_not_run_in_one_of_the_two_is_ignored() -> None:
    first = KNOWN.compare({"3": MOVED, "9": STALE})[0]
    assert (first.id, round(first.score, 6), first.explained) == ("moved", 1.0, 1.0)


def test_a_case_that_passed_where_the_bug_fails_counts_against_it() -> None:
    whole = KNOWN.compare({"1": MOVED, "2": MOVED, "3": MOVED})[0].score
    part = KNOWN.compare({"1": MOVED, "2": PASS, "3": PASS})[0].score
    assert part < whole


def test_a_clean_run_looks_like_nothing() -> None:
    assert KNOWN.looks_like({"1": PASS, "2": PASS}) == []
    assert KNOWN.looks_like({}) == []


def test_below_the_threshold_a_run_looks_like_nothing() -> None:
    strange = Outcome("fail", ("size",), "resize; EIO")
    run = {"1": STALE, **{str(number): strange for number in range(2, 5)}}
    assert KNOWN.compare(run)
    assert all(one.score < fingerprints.THRESHOLD for one in KNOWN.compare(run))
    assert KNOWN.looks_like(run) == []


def test_few_cases_are_too_few_to_name_a_bug() -> None:
    cases = {f"{number}": MOVED if number < 3 else PASS for number in range(1, 8)}
    known = Fingerprints([Sample("moved", "g", 1, cases=cases), sample("other", _7=STALE)])
    assert [one.id for one in known.looks_like(cases)] == ["moved"]
    assert known.looks_like({case: cases[case] for case in "1234"}) == []
    assert known.compare({case: cases[case] for case in "1234"})[0].score > 0.99


def test_controls_and_bugs_that_no_case_finds_are_not_named() -> None:
    assert len(KNOWN) == 4
    assert "legal" not in {one.id for one in KNOWN.compare({"1": STALE})}


def test_samples_of_one_bug_are_averaged() -> None:
    both = Fingerprints([sample("a", _1=STALE, _2=STALE), sample("a", seed=2, _1=STALE, _2=PASS)])
    scores = [both.compare({"1": STALE, "2": second})[0].score for second in (STALE, PASS)]
    assert all(0.7 < score < 1 for score in scores)


def test_a_file_can_be_read_back(tmp_path: Path) -> None:
    samples = [
        Sample("lost", "stale", 3, "rate=2", {"001": PASS, "200": MOVED}, "2 cases hang"),
        Sample("control-plain", "controls", 1, control=True),
    ]
    plain, packed = tmp_path / "f.jsonl", tmp_path / "f.jsonl.gz"
    plain.write_text(fingerprints.text_of(samples))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert fingerprints.read(plain) == fingerprints.read(packed) == samples


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}\n", "line 1 is no fingerprint; measure the file anew by ./check --mutants"),
        ('{"id": "a", "cases": 3}\n', "line 1 is no fingerprint"),
        ("\xe9", "line 1 is no fingerprint"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        fingerprints.read(file)


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.jsonl: cannot be read: No such file"):
        fingerprints.read(tmp_path / "gone.jsonl")
    packed = tmp_path / "f.jsonl.gz"
    packed.write_bytes(gzip.compress(b"{}" * 99)[:-9])
    with pytest.raises(UsageError, match="cannot be read"):
        fingerprints.read(packed)


# The fingerprints that are shipped ---------------------------------------------------------------


def test_shipped_fingerprints_are_of_known_mutants_and_of_their_groups() -> None:
    known = catalogue()
    samples = fingerprints.read()
    assert len(Fingerprints(samples)) >= 30
    for one in samples:
        assert one.group == known[one.id].__module__.rpartition(".")[2]
        assert all(case.isdigit() for case in one.cases)


def test_each_second_sample_is_recognised_by_the_others() -> None:
    samples = [one for one in fingerprints.read() if any(map(_is_bad, one.cases.values()))]
    repeated = {one.id for one in samples if one.seed != 1} & {
        one.id for one in samples if one.seed == 1
    }
    of_these = [one for one in samples if one.id in repeated]
    assert len(of_these) >= 30
    hits = firsts = 0
    for one in of_these:
        known = Fingerprints([other for other in samples if other is not one])
        found = known.compare(one.cases)[: fingerprints.SHOWN]
        hits += one.id in {likely.id for likely in found}
        firsts += bool(found) and found[0].group == one.group
    assert hits >= 0.8 * len(of_these)
    assert firsts >= 0.9 * len(of_these)


def _is_bad(outcome: Outcome) -> bool:
    return outcome.is_bad


def test_one_failure_in_common_says_nothing_about_a_run_of_many() -> None:
    cases = {str(number): PASS for number in range(1, 7)}
    bug = {**cases, "1": MOVED}
    known = Fingerprints([Sample("moved", "g", 1, cases=bug), sample("other", _7=STALE)])
    assert [one.id for one in known.looks_like(bug)] == ["moved"]
    assert known.compare({**bug, "8": MOVED, "9": MOVED})[0].score > 0.99
    assert known.looks_like({**bug, "8": MOVED, "9": MOVED}) == []


def test_failures_that_were_not_measured_for_a_bug_count_against_it() -> None:
    measured = {str(number): MOVED if number < 3 else PASS for number in range(1, 7)}
    known = Fingerprints([Sample("moved", "g", 1, cases=measured), sample("other", _7=STALE)])
    assert [one.id for one in known.looks_like(measured)] == ["moved"]
    more = {str(number): MOVED for number in range(10, 16)}
    assert [one.id for one in known.looks_like({**measured, **more})] == ["moved"]
    assert known.looks_like({**measured, **more, "16": STALE}) == []


def test_a_failing_run_names_the_bug_with_its_description_and_real_cases(runs: ModuleType) -> None:
    """Failures as a server that ignores write zeroes causes them, among cases that passed."""
    samples = [one for one in fingerprints.read() if one.id == "write-zeroes-noop"]
    one = samples[0]
    cases = [
        runs.ended(
            int(number),
            Verdict.FAIL if outcome.is_bad else Verdict.PASS,
            findings=tuple(Finding(Damage(kind)) for kind in outcome.damage),
        )
        for number, outcome in one.cases.items()
    ]
    found = likeness.looks_like(cases)
    assert found[0].id == "write-zeroes-noop"
    assert found[0].breaks == "write zeroes does nothing"
    assert "QEMU" in found[0].seen_in
    assert found[0].explained > 0.8
    assert likeness.looks_like([runs.ended(1, Verdict.PASS)]) == ()


def test_other_formats_and_cases_not_run_are_not_compared(runs: ModuleType) -> None:
    cases = [
        runs.ended(1, Verdict.FAIL, image_format="qcow2"),
        runs.ended(2, Verdict.NOT_RUN),
        runs.ended(3, Verdict.PASS),
        runs.ended(4, Verdict.FAIL, message="no"),
        runs.ended(4, Verdict.PASS),
    ]
    found = likeness.outcomes_of(cases)
    assert {case: one.verdict for case, one in found.items()} == {"003": "pass", "004": "fail"}
