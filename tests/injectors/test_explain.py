"""Rules in words."""

import pytest

from injectors.rules import parse_yaml
from injectors.rules.actions import ACTIONS
from injectors.rules.explain import explain


def words(*rules, states=""):
    return explain(parse_yaml.read(f"rules: [{', '.join(rules)}]\nstates: [{states}]"))


def test_a_rule_is_told_with_event_range_and_end():
    text = words("{event: write_aio, errno: ENOSPC, sector: 8-15, once: true, iotype: write}")
    assert text == (
        "Rule 1: armed when write_aio fires (a format driver writes guest data).\n"
        "  Each write that touches sectors 8-15 fails with ENOSPC (No space left on device).\n"
        "  It ends after one fault.\n"
        "  Not for QEMU's blkdebug, which has no range of several sectors, nor of bytes.\n"
    )


def test_conditions_are_told():
    text = words("{event: none, iotype: read, after: 3, every: 2, probability: 0.5, connection: 2}")
    assert "After 3 that go free, one in 2, a read on connection 2, with a chance of 50 %," in text


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_words(action):
    text = words(f"{{event: none, action: {action}}}")
    assert len(text.splitlines()[1].split()) > 4


def test_what_surprises_is_said():
    assert "stays armed until" in words("{event: write_aio}")
    assert "stays armed until" not in words("{event: write_aio, iotype: write}")
    assert "go to sleep" in words("{event: none}", "{event: pwritev}")
    assert "nothing leads to state 2" in words("{event: none, state: 2}")
    reached = words("{event: none, state: 2}", states="{event: pwritev, new_state: 2}")
    assert "nothing leads" not in reached


def test_no_rules_are_said_too():
    assert words() == "There are no rules.\n"
