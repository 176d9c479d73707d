"""Values of rules that are refused, and cases of the engine that random tests seldom reach."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from blockio.layers import Command, Reply, Request
from injectors.delay import Delay
from injectors.error import Error
from injectors.hang import Hang
from injectors.rules import files, marked_yaml, parse_ini
from injectors.rules.engine import Engine
from injectors.rules.errors import NotExpressible, RuleSyntaxError
from injectors.rules.events import IoType
from injectors.rules.explain import explain
from injectors.rules.fast_path import passer
from injectors.rules.fault import Call, Fault, rewire
from injectors.rules.fields import normal_keys, rule_from
from injectors.rules.model import Rule, RuleSet, error_rule, point, sectors
from injectors.rules.nbdkit import to_nbdkit


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"probability": "x"}, "probability: 'x' is not a number"),
        ({"probability": True}, "probability: True is not a number"),
        ({"errno": 1.5}, "errno: 1.5 is not an errno: use a name such as ENOSPC, or a number"),
        ({"sector": "x-3"}, "sector: 'x' is not a size; write 512, 4k, 64M, 1.5G or 100T"),
        ({"offset": []}, "offset: an empty list matches no request; omit the key"),
        ({"once": 1}, "once: 1 is neither true nor false"),
        ({"may_not_fire": 1, "may-not-fire": 1}, "may-not-fire: is given twice; remove one"),
    ],
)
def test_a_wrong_value_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        rule_from({"event": "none"} | keys)
    assert str(refused.value).startswith(message)


def test_a_switch_may_be_a_word() -> None:
    assert rule_from({"event": "none", "once": "on"}).once
    assert not rule_from({"event": "none", "once": "No"}).once


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"after": -1}, "after must be at least 0, every and count at least 1"),
        ({"every": 0}, "after must be at least 0, every and count at least 1"),
        ({"count": 0}, "after must be at least 0, every and count at least 1"),
        ({"spans": ((5, 5),)}, "the range from byte 5 to 4 is not ascending"),
    ],
)
def test_a_rule_checks_its_values(conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule("none", **conditions)


def test_a_rule_covers_only_its_connections() -> None:
    rule = Rule("none", connections=frozenset({2}), spans=(sectors(0, 7),))
    assert rule.covers(IoType.READ, 0, 1, connection=2)
    assert not rule.covers(IoType.READ, 0, 1, connection=1)
    assert not rule.covers(IoType.READ, 4096, 1, connection=2)


def test_keys_have_underscores() -> None:
    assert normal_keys({"new-state": 1}) == {"new_state": 1}


# -- files


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marked_yaml, "VALUES_MAX", 9)
    with pytest.raises(RuleSyntaxError, match=r"f:1: more than 9 values"):
        files.read("rules: [1, 2, 3, 4, 5, 6, 7, 8, 9]", "f")


def test_other_types_of_yaml_are_text() -> None:
    assert marked_yaml.load("a: 2026-02-03").value == {"a": "2026-02-03"}


def test_a_key_without_a_line_has_that_of_the_document() -> None:
    assert marked_yaml.Marked({}, {}).line(("a", 3)) == 1


def test_a_switch_of_blkdebug_is_on_or_off() -> None:
    with pytest.raises(RuleSyntaxError, match=r"c:3: once: 'maybe' is neither on nor off"):
        parse_ini.read('[inject-error]\nevent = "none"\nonce = "maybe"', "c")


def test_rules_on_none_and_on_another_event_are_not_for_nbdkit() -> None:
    rules = RuleSet((
        Rule("none", iotypes=frozenset({IoType.DISCARD})),
        Rule("write_aio", iotypes=frozenset({IoType.WRITE})),
    ))  # fmt: skip
    with pytest.raises(NotExpressible, match="rule on none together with rules on other events"):
        to_nbdkit(rules)


def test_an_explanation_names_may_not_fire() -> None:
    assert "A case is not BROKEN if it never fires." in explain(
        RuleSet((error_rule("none", may_not_fire=True),))
    )


# -- faults


def test_a_fault_that_cannot_wait_raises() -> None:
    call = Call(Request(Command.READ, 0, 0, 512, 1), lambda _: Reply(), lambda _: 0)
    for fault in (Delay(1), Hang()):
        with pytest.raises(RuntimeError, match="this caller provides no way to wait"):
            fault.inject(call)


def test_the_base_class_is_abstract() -> None:
    call = Call(Request(Command.READ, 0, 0, 512, 1), lambda _: Reply(), lambda _: 0)
    with pytest.raises(NotImplementedError):
        Fault().describe()
    with pytest.raises(NotImplementedError):
        Fault().inject(call)


def test_changes_on_the_wire_follow_those_of_the_layers_below() -> None:
    reply = rewire(Reply(), lambda raw: (raw + b"1", False))
    reply = rewire(reply, lambda raw: (raw + b"2", True))
    assert reply.on_wire is not None
    assert reply.on_wire(b"0") == (b"012", False)


# -- engine


def test_a_name_that_is_in_use_is_refused_and_nothing_is_added() -> None:
    engine = Engine(RuleSet((error_rule("none", name="a"),)))
    for names in (["b", "a"], ["c", "c"]):
        with pytest.raises(ValueError, match=r"there is a rule named [ac] already"):
            engine.load(RuleSet(tuple(error_rule("none", name=name) for name in names)))
    assert [armed.id for armed in engine.rules] == ["a"]


def test_a_default_name_skips_names_that_are_in_use() -> None:
    engine = Engine(RuleSet((error_rule("none", name="rule2"),)))
    added = engine.add(error_rule("none"))
    assert (added.id, repr(added)[:13]) == ("rule3", "Armed(rule3, ")


def test_a_change_to_another_event_disarms_the_rule() -> None:
    engine = Engine(RuleSet((error_rule("none", name="a"),)))
    engine.change("a", error_rule("write_aio", name="a"))
    assert engine.decide(IoType.WRITE, 0, 512) is None
    engine.on_event("write_aio")
    assert engine.decide(IoType.WRITE, 0, 512) is not None


def test_a_fast_path_of_an_old_version_passes_nothing() -> None:
    engine = Engine(RuleSet((error_rule("read_aio", spans=(point(9),)),)))
    passes = passer(engine, threading.Lock(), IoType.READ, ["read_aio"])
    assert passes is not None
    assert passes(0, 512)
    assert not passes(9 * 512, 512)
    engine.add(Rule("read_aio", Error()))
    assert not passes(0, 512)
