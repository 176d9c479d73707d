"""The description of rules by `./check rules explain`."""

from __future__ import annotations

import pytest

from injectors.rules import parse_yaml
from injectors.rules.actions import ACTIONS
from injectors.rules.explain import explain


def words(*rules: str, states: str = "") -> str:
    return explain(parse_yaml.read(f"rules: [{', '.join(rules)}]\nstates: [{states}]"))


def test_a_rule_is_explained_with_event_range_and_end() -> None:
    text = words("{event: write_aio, errno: ENOSPC, sector: 8-15, once: true, iotype: write}")
    assert text == (
        "Rule 1: armed when write_aio fires (a format driver writes guest data).\n"
        "  Each write that touches sectors 8-15 fails with ENOSPC (No space left on device).\n"
        "  It ends after one fault.\n"
        "  Not for QEMU's blkdebug, which has no range of several sectors, nor of bytes.\n"
    )


def test_conditions_are_explained() -> None:
    text = words("{event: none, iotype: read, after: 3, every: 2, probability: 0.5, connection: 2}")
    assert (
        "After 3 that are spared, one in 2, a read on connection 2, with a probability of 50 %,"
        in text
    )


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_explained(action: str) -> None:
    text = words(f"{{event: none, action: {action}}}")
    assert len(text.splitlines()[1].split()) > 4


def test_notes_name_surprising_consequences() -> None:
    assert "stays armed until" in words("{event: write_aio}")
    assert "stays armed until" not in words("{event: write_aio, iotype: write}")
    assert "disarmed permanently" in words("{event: none}", "{event: pwritev}")
    assert "no change leads to state 2" in words("{event: none, state: 2}")
    reached = words("{event: none, state: 2}", states="{event: pwritev, new_state: 2}")
    assert "no change leads" not in reached


def test_an_empty_file_is_explained() -> None:
    assert words() == "There are no rules.\n"
