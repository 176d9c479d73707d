"""Findings can be stored as JSON, combined, and printed as sentences."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.damage import (
    Confidence,
    Content,
    Damage,
    Difference,
    Operation,
    Verdict,
    What,
    error,
    size,
)
from oracles.finding import Finding, Findings, render, reported
from oracles.sentences import sentence

_NUMBER = st.one_of(st.none(), st.integers(0, (1 << 64) - 1))
_BYTES = st.integers(0, (1 << 63) - 1)
CONTENTS = st.builds(
    Content, st.sampled_from(What), _NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER,
    st.one_of(st.none(), st.integers(-1, 1 << 30)), st.text(),
)  # fmt: skip
OPERATIONS = st.builds(Operation, _BYTES, _BYTES, _BYTES, st.text(), _NUMBER, st.integers(0, 9))
FINDINGS = st.builds(
    Finding,
    st.sampled_from(Damage),
    _BYTES,
    _BYTES,
    st.one_of(st.none(), CONTENTS),
    st.one_of(st.none(), CONTENTS),
    st.one_of(st.none(), st.builds(Difference, _BYTES, st.binary(), st.binary())),
    st.one_of(st.none(), st.integers(-(1 << 63), 1 << 63)),
    st.one_of(st.none(), st.tuples(st.integers(0, 511), st.integers(1, 512))),
    _NUMBER,
    st.lists(OPERATIONS, max_size=3).map(tuple),
    st.sampled_from(Confidence),
    st.sampled_from(("", "target", "reference", "both")),
    st.text(),
    st.text(),
    st.lists(st.text(), max_size=3).map(tuple),
)


@given(FINDINGS)
def test_a_finding_comes_back_from_json_as_it_was(finding: Finding) -> None:
    assert Finding.from_json(json.loads(json.dumps(finding.to_json()))) == finding


@given(FINDINGS)
def test_every_finding_has_a_sentence_and_a_line(finding: Finding) -> None:
    assert sentence(finding) == finding.text == finding.to_json()["text"]
    assert finding.text in finding.line
    assert finding.line in str(finding)
    assert pickle.loads(pickle.dumps(finding)) == finding


REQUIRED = [
    field.name
    for field in fields(Finding)
    if field.name
    not in (
        "sector_bytes",
        "follows",
        "right_writes",
        "asked",
        "nearby",
        "relatives",
        "not_listed",
        "volume",
        "fit",
        "record",
    )  # newer ones, and the one that is not reported
]


@pytest.mark.parametrize("field", REQUIRED)
def test_a_finding_without_a_required_member_is_refused(field: str) -> None:
    members = Finding(Damage.TORN).to_json()
    del members[field]
    with pytest.raises(KeyError):
        Finding.from_json(members)


def test_an_unknown_damage_is_refused() -> None:
    with pytest.raises(ValueError, match="burnt"):
        Finding.from_json(Finding(Damage.TORN).to_json() | {"damage": "burnt"})


TORN, EIO = Finding(Damage.TORN, 512, 512), Finding(Damage.ERROR, remark="EIO")
RIGHT, WRONG, UNJUDGED = Findings(), Findings([TORN]), Findings(is_judged=False)


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (RIGHT, RIGHT, Verdict.RIGHT),
        (RIGHT, UNJUDGED, Verdict.UNJUDGED),
        (RIGHT, WRONG, Verdict.WRONG),
        (UNJUDGED, WRONG, Verdict.WRONG),
        (WRONG, Findings([EIO]), Verdict.WRONG),
    ],
)
def test_of_two_oracles_the_worse_verdict_counts(
    one: Findings, other: Findings, verdict: Verdict
) -> None:
    for first, second in ((one, other), (other, one)):
        assert first.and_those(second).verdict is verdict
        assert first.and_those(second) == [*first, *second]
        assert max(first.verdict, second.verdict) is verdict
        added = Findings(first, is_judged=first.is_judged)
        added += second
        assert added.verdict is verdict


def test_findings_are_a_list_that_can_be_compared_and_sent() -> None:
    assert RIGHT == []
    assert not RIGHT
    assert [TORN] == WRONG
    sent = pickle.loads(pickle.dumps(Findings([TORN], is_judged=False, about="x")))
    assert (sent, sent.is_judged, sent.about) == ([TORN], False, "x")


def test_findings_as_text_begin_with_what_was_judged() -> None:
    found = Findings([TORN, EIO], about="the guest's data")
    assert str(found).splitlines()[0] == "the guest's data:"
    assert str(Findings(about="nothing is wrong")) == ""
    assert render([TORN] * 5, limit=2).endswith("... and 3 more; 2560 wrong bytes in all")


def test_the_text_of_a_judge_becomes_a_finding_and_an_empty_text_does_not() -> None:
    assert reported(Damage.FILE, "a: gone") == [Finding(Damage.FILE, remark="a: gone")]
    assert reported(Damage.FILE, "") == []


def stamp(generation: int, operation: int, writer: int = 0) -> Content:
    return Content(What.STAMP, generation, operation, writer, 7, 9)


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding(Damage.LOST, expected=Content(What.WRITE, operation=3)),
         "lost, expected write #3"),
        (Finding(Damage.STALE), "stale"),
        (Finding(Damage.STALE, seen=stamp(0, 0), expected=stamp(2, 5)),
         "stale (prefill, expected generation 2 by write #5)"),
        (Finding(Damage.NEWER, seen=stamp(3, 9), expected=stamp(0, 0)),
         "newer (generation 3 by write #9, expected prefill)"),
        (Finding(Damage.OTHER_WRITE), "other write"),
        (Finding(Damage.FOREIGN, expected=Content(What.ZEROES)), "foreign data, expected zeroes"),
        (Finding(Damage.MISDIRECTED, seen=stamp(0, 0), moved=1 << 41),
         "misdirected (+4294967296 sectors: 2 TiB too high, a multiple of 4 GiB, by the prefill)"),
        (Finding(Damage.BIT_FLIP, part=(3, 4), count=1), "bit flip at byte 3 of the sector"),
        (Finding(Damage.SIZE, seen=size(9), expected=size(8)), "9 bytes, not 8"),
        (Finding(Damage.LENGTH, seen=size(9), expected=size(8)), "9 bytes returned, 8 requested"),
        (Finding(Damage.ERROR, seen=error(5), expected=error(0)),
         "Input/output error (5), expected success"),
        (Finding(Damage.ERROR, seen=error(-1), expected=error(0), side="target"),
         "reference: success; target: no reply"),
        (Finding(Damage.ERROR, seen=error(5), expected=error(0), side="reference"),
         "reference: Input/output error (5); target: success"),
        (Finding(Damage.STATUS, expected=Content(What.DATA)),
         "said to read as zeroes, expected other data"),
        (Finding(Damage.TORN, seen=Content(What.PATTERN, number=0xA5), part=(8, 16),
                 expected=Content(What.ZEROES)),
         "torn: bytes 8 to 15 are pattern 0xa5, rest the expected data"),
        (Finding(Damage.TORN, seen=stamp(3, 9), expected=Content(What.DATA)),
         "most of the sector is generation 3 by write #9, expected other data"),
        (Finding(Damage.CHANGING, expected=Content(What.TEXT, text="the same twice")),
         "changing, expected the same twice"),
    ],
)  # fmt: skip
def test_each_finding_has_this_sentence(finding: Finding, text: str) -> None:
    assert sentence(finding) == text


def test_a_finding_names_its_place_only_where_it_has_one() -> None:
    assert EIO.line == "EIO"
    assert replace(EIO, request="read").line == "read: EIO"
    found = replace(TORN, offset=1000, length=600, remark="torn", evidence=("one", "two"))
    assert str(found).splitlines() == [
        "offset 1000 (0x3e8), sectors 1-3, 600 bytes: torn", "    one", "    two"
    ]  # fmt: skip
    assert (found.first_difference, found.last_write) == (1000, "")


def test_ranks_put_contents_before_order_before_answers_before_the_rest() -> None:
    ranks = [one.rank for one in (Damage.TORN, Damage.METADATA, Damage.SIZE, Damage.HANG)]
    assert ranks == [0, 1, 2, 3]
