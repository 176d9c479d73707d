"""The checker agrees with a brute-force search by the definition."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.damage import Damage
from oracles.linearizability import INITIAL, NEVER, Access, Anomaly, check, findings_of
from oracles.timeline import timeline


def access(verb: str, value: int, call: float, returned: float, client: int = 1) -> Access:
    return Access(0, verb == "w", value, call, returned, client, 0)


def is_right(history: list[Access]) -> bool:
    """Try all orders: each request at one moment, not before one that returned before its call."""
    must = [one for one in history if one.returned != NEVER]
    may = [one for one in history if one.returned == NEVER]
    for count in range(len(may) + 1):
        for there in itertools.combinations(may, count):
            for order in itertools.permutations([*must, *there]):
                value = INITIAL
                for place, one in enumerate(order):
                    if any(later.returned < one.call for later in order[place + 1 :]):
                        break
                    if one.is_write:
                        value = one.value
                    elif one.value != value:
                        break
                else:
                    return True
    return False


@st.composite
def histories(draw: st.DrawFn) -> list[Access]:
    history = []
    values = [INITIAL]
    for number in range(1, draw(st.integers(1, 6))):
        call = draw(st.integers(0, 12))
        returned: float = call + draw(st.integers(1, 6))
        if draw(st.booleans()):
            values.append(number)
            returned = NEVER if draw(st.integers(0, 5)) == 0 else returned
            history.append(Access(0, True, number, call, returned, 1, number))
        else:
            value = draw(st.sampled_from(values))
            history.append(Access(0, False, value, call, returned, 2, number))
    return history


@settings(max_examples=600, deadline=None)
@given(histories())
def test_judges_as_the_definition_does(history: list[Access]) -> None:
    # The definition with equal times: a return at the moment of a call is concurrent with it.
    assert (not check(history)) == is_right(history)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([access("w", 1, 0, 1), access("r", 0, 2, 3)], "last request of #1 began"),
        ([access("w", 1, 0, 1), access("w", 2, 2, 3), access("r", 1, 4, 5)], "came back after"),
        ([access("r", 1, 0, 1), access("w", 1, 2, 3)], "before it was written"),
        ([access("r", 7, 0, 1)], "was never written"),
        (
            [access("w", 1, 0, 10), access("w", 2, 0, 10, 2), access("r", 1, 1, 2, 3),
             access("r", 2, 3, 4, 3), access("r", 1, 5, 6, 3)],
            "came back after",
        ),
    ],
)  # fmt: skip
def test_anomalies_are_named(history: list[Access], message: str) -> None:
    [anomaly] = check(history)
    assert message in anomaly.text
    assert len(anomaly.cycle) <= 4
    picture = timeline(anomaly, history)
    assert picture.count("<rect") > len({one.client for one in anomaly.cycle})
    assert re.search(r"<svg .*</svg>", picture, re.DOTALL)
    assert "Red: writes. Blue: reads." in picture
    assert "prefers-color-scheme:dark" in picture


def test_a_request_without_a_reply_may_take_effect_late_or_never() -> None:
    lost = access("w", 1, 0, NEVER)
    assert check([lost, access("r", 0, 5, 6)]) == []
    assert check([lost, access("r", 0, 5, 6), access("r", 1, 7, 8)]) == []
    assert check([lost, access("r", 1, 5, 6), access("r", 0, 7, 8)])


def test_each_sector_is_judged_alone() -> None:
    right = [Access(n, True, n + 1, n, n + 0.5, 1, n) for n in range(50)]
    wrong = Access(7, False, INITIAL, 100, 101, 2, 99)
    [anomaly] = check([*right, wrong])
    assert isinstance(anomaly, Anomaly)
    assert anomaly.sector == 7


def test_a_history_that_writes_a_value_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two writes of #1"):
        check([access("w", 1, 0, 1), access("w", 1, 2, 3)])


def test_an_anomaly_is_a_finding_with_the_requests_as_evidence() -> None:
    anomalies = check([access("w", 1, 0, 1), access("r", 0, 2, 3)])
    (finding,) = found = findings_of(anomalies)
    assert (finding.damage, finding.offset, finding.length) == (Damage.NOT_LINEARIZABLE, 0, 512)
    assert finding.text == f"not linearizable: {anomalies[0].plain}"
    assert f"proof: {anomalies[0].text}" in finding.evidence
    assert any("writes #1" in line for line in finding.evidence)
    assert str(anomalies[0]).splitlines()[1:] == [f"  {line}" for line in finding.evidence]
    assert str(found).splitlines()[0].startswith("offset 0 (0x0), sector 0, 512 bytes: not linear")
    assert findings_of([]) == []


def test_a_value_that_was_never_or_not_yet_written_is_an_anomaly() -> None:
    (never,) = check([access("r", 5, 2, 3)])
    assert never.text == "#5 was read, but was never written"
    (early,) = check([access("r", 5, 2, 3), access("w", 5, 4, NEVER)])
    assert early.text == "a value was read before it was written"
    assert early.finding.evidence[-1].startswith("0.000004 s no reply")


def moved(verb: str, value: int, call: float, client: int, request: int) -> Access:
    return Access(24, verb == "w", value, 1000 * call, 1000 * call + 500, client, request)


def test_a_lost_write_is_told_from_one_that_is_old_again() -> None:
    """A read of an old value blames the write that no read returned, or else the read."""
    (lost,) = check([moved("w", 7, 1, 1, 7), moved("w", 8, 2, 2, 8), moved("r", 7, 3, 2, 9)])
    assert lost.plain == (
        "write #8 of client 2 was acknowledged at 0.002500 s; 500 us later, client 2 then read"
        " the older write #7, by request 9 at 0.003000 s; no read ever returned #8: it was lost,"
        " or nobody read it before the next write"
    )
    (before,) = check([
        moved("w", 7, 1, 1, 7), moved("w", 8, 2, 2, 8), moved("r", 8, 3, 3, 9),
        moved("r", 7, 4, 4, 10),
    ])  # fmt: skip
    assert before.plain.endswith("#8 is not lost: client 3 read it before (request 9)")
    (later,) = check([
        moved("w", 7, 1, 1, 7), moved("w", 8, 2, 2, 8), moved("r", 7, 3, 4, 10),
        moved("r", 8, 4, 3, 11),
    ])  # fmt: skip
    assert later.plain.endswith("#8 is not lost: client 3 read it later (request 11)")


def test_the_client_that_read_the_older_write_is_named() -> None:
    """The write of the newer value is not one of the requests that contradict one another."""
    (anomaly,) = check([
        moved("w", 130, 0, 2, 130), moved("w", 180, 3, 1, 180), moved("r", 180, 4, 2, 184),
        moved("r", 130, 5.4, 3, 206), moved("r", 180, 23, 1, 259),
    ])  # fmt: skip
    assert anomaly.stale is not None
    assert (anomaly.stale.client, anomaly.stale.value) == (3, 130)
    assert anomaly.plain.startswith("write #180 of client 1 was acknowledged at 0.003500 s;")


def test_what_was_there_before_is_no_client() -> None:
    (anomaly,) = check([moved("w", 8, 2, 2, 8), moved("r", INITIAL, 3, 2, 9)])
    text = f"{anomaly}\n{timeline(anomaly, [])}"
    assert "before the case: the initial contents" in text
    assert "client 0" not in text
    assert "before all" not in text
