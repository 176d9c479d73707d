"""Rules as YAML: read, written, and refused with line and key."""

from __future__ import annotations

import errno
from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injectors.delay import Delay
from injectors.error import Error
from injectors.rules import parse_yaml
from injectors.rules.actions import ACTIONS
from injectors.rules.errors import RuleSyntaxError
from injectors.rules.events import EVENTS, IoType
from injectors.rules.fault import Errno, Fault
from injectors.rules.fields import fault_keys
from injectors.rules.model import Rule, RuleSet, SetState, point, sectors

DESIGN = """
seed: 7
rules:
  - {event: write_aio, errno: ENOSPC, sector: 2048-4095, once: true, state: 1}
  - {event: read_aio,  action: corrupt, bits: 1, probability: 0.01, iotype: read}
  - {event: write_aio, action: torn, keep: first-sectors, count: 3}
  - {event: flush_to_disk, action: lie}
  - {event: write_aio, action: delay, milliseconds: 200, after: 10}
  - {event: read_aio,  action: disconnect, when: mid-reply}
states:
  - {event: write_aio, state: 1, new_state: 2}
"""


def test_the_example_of_the_design_is_read() -> None:
    rules = parse_yaml.read(DESIGN)
    assert rules.seed == 7
    assert [rule.fault.action for rule in rules.rules] == [
        "error", "corrupt", "torn", "lie", "delay", "disconnect",
    ]  # fmt: skip
    assert rules.rules[0] == Rule(
        "write_aio", Error(Errno(errno.ENOSPC)), state=1, spans=(sectors(2048, 4095),), once=True
    )
    assert rules.rules[4] == Rule("write_aio", Delay(200), after=10)
    assert rules.states == (SetState("write_aio", 2, state=1),)


@pytest.mark.parametrize(
    ("written", "spans"),
    [
        ("sector: 7", (point(7),)),
        ("sector: '7'", (point(7),)),
        ("sector: 7-7", ((3584, 4096),)),
        ("sector: 8-15", ((4096, 8192),)),
        ("sector: 2048+8", ((1 << 20, (1 << 20) + 4096),)),
        ("sector: [1, 4-5]", (point(1), sectors(4, 5))),
        ("sector: 1M+64K", ((1 << 20, (1 << 20) + 65536),)),
        ("offset: 4096", ((4096, 4097),)),
        ("offset: 0-4095", ((0, 4096),)),
        ("offset: 1M+64K", ((1 << 20, (1 << 20) + 65536),)),
    ],
)
def test_ranges_are_in_sectors_or_bytes(written: str, spans: object) -> None:
    rules = parse_yaml.read(f"rules: [{{event: none, {written}}}]")
    assert rules.rules[0].spans == spans


def test_keys_may_have_hyphens_and_events_dots() -> None:
    rules = parse_yaml.read(
        "rules: [{event: l1_grow.alloc_table, may-not-fire: yes}]\n"
        "states: [{event: none, new-state: 3}]"
    )
    assert rules.rules == (Rule("l1_grow_alloc_table", may_not_fire=True),)
    assert rules.states == (SetState("none", 3),)


def test_an_empty_file_has_no_rules() -> None:
    assert parse_yaml.read("") == parse_yaml.read("# nothing\n") == RuleSet()
    assert parse_yaml.write(RuleSet()) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules:\n- {event: reed}", r"r.yaml:2: event: 'reed' is not one of .*read_aio"),
        ("rules:\n- event: none\n  errno: ENOPE", r"r.yaml:3: errno: .*ENOSPC"),
        ("rules:\n- event: none\n  errno: -5", r"r.yaml:3: errno: .*0 to 4095"),
        (
            "rules:\n- event: none\n  onse: true",
            r"r.yaml:3: onse: unknown key, did you mean once[?]; .*",
        ),
        ("rules:\n- event: none\n  bits: 3", r"r.yaml:3: bits: unknown key; .* error has .*errno"),
        ("rules:\n- errno: 5", r"r.yaml:2: event is required"),
        ("rules:\n- event: none\n  action: boom", r"r.yaml:3: action: 'boom' .*torn"),
        ("rules:\n- event: none\n  action: [a]", r"r.yaml:3: action: "),
        ("rules:\n- event: none\n  iotype: all", r"r.yaml:3: iotype: .*write-zeroes"),
        (
            "rules:\n- {event: none, action: torn, iotype: read}",
            r"r.yaml:2: action torn does not apply to read, only to write",
        ),
        ("rules:\n- event: none\n  sector: 9-3", r"r.yaml:3: sector: .*ascending"),
        ("rules:\n- event: none\n  sector: -3", r"r.yaml:3: sector: .*7, 8-15"),
        (
            "rules:\n- event: none\n  sector: 9\n  offset: 0",
            r"r.yaml:4: offset: use sector or",
        ),
        ("rules:\n- event: none\n  count: 0", r"r.yaml:3: count: .*at least 1"),
        ("rules:\n- event: none\n  once: 1", r"r.yaml:3: once: .*true nor false"),
        ("rules:\n- event: none\n  probability: 2", r"r.yaml:2: probability 2 "),
        ("rules:\n- event: none\n  probability: .nan", r"r.yaml:2: probability nan "),
        ("rules:\n- {event: none, once: true, count: 2}", r"r.yaml:2: use once or count"),
        ("rules:\n- event: none\n  id: 7", r"r.yaml:3: id: "),
        (
            "rules:\n- {event: none, id: a}\n- {event: none,\n   id: a}",
            r"r.yaml:4: id: a .*twice",
        ),
        ("rules:\n- event: none\n  event: none", r"r.yaml:3: .*given twice"),
        ("rules:\n- none", r"r.yaml:2: rules: an entry must be a mapping"),
        ("rules: {event: none}", r"r.yaml:1: rules: must be a list"),
        ("rule: []", r"r.yaml:1: unknown key rule, did you mean rules[?]; .*"),
        ("- {event: none}", r"r.yaml:1: a rules file must be a mapping"),
        ("seed: x", r"r.yaml:1: seed: 'x'"),
        ("states:\n- {event: none}", r"r.yaml:2: .*new_state"),
        ("states:\n- {event: none, new_state: 1, errno: 5}", r"r.yaml:2: errno: unknown key"),
        ("rules: [", r"r.yaml:1: not YAML"),
        ("a: &a [*a]", r"r.yaml: .*nested too deeply"),
    ],
)
def test_a_wrong_file_names_line_key_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(RuleSyntaxError, match=message):
        parse_yaml.read(text, "r.yaml")


def cast_fault(fault: Fault | None) -> Fault:
    assert fault is not None
    return fault


def faults(kind: type[Fault]) -> st.SearchStrategy[Fault]:
    """Return faults with values of all keys, without those that are refused."""
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name, key in fault_keys(kind).items():
        default = next(field.default for field in fields(kind) if field.name == name)
        if "enum" in key.schema:
            values[name] = st.sampled_from(key.schema["enum"])
        elif name == "errno":
            values[name] = st.sampled_from([0, 5, 28, 110, 999])
        else:
            values[name] = {
                "boolean": st.booleans(),
                "integer": st.sampled_from([default, 1, 3, 4096]),
                "number": st.sampled_from([default, 0.5, 1000]),
            }[key.schema["type"]]

    def made(given: dict[str, Any]) -> Fault | None:
        try:
            return kind(**given)
        except ValueError:
            return None

    return (
        st.fixed_dictionaries(values).map(made).filter(lambda one: one is not None).map(cast_fault)
    )


SPANS = st.one_of(
    st.integers(0, 1 << 40).map(point),
    st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda p: sectors(p[0], p[0] + p[1])),
    st.tuples(st.integers(0, 99), st.integers(1, 99)).map(lambda p: (p[0], p[0] + p[1])),
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    fault = draw(st.sampled_from(list(ACTIONS.values())).flatmap(faults))
    kinds = st.sets(st.sampled_from(sorted(fault.hurts, key=lambda kind: kind.value)), min_size=1)
    once = draw(st.booleans())
    return Rule(
        draw(st.sampled_from(sorted(EVENTS))), fault, draw(st.integers(0, 5)),
        draw(st.none() | kinds.map(frozenset)),
        draw(st.none() | st.lists(SPANS, min_size=1, max_size=3).map(tuple)),
        once, draw(st.sampled_from([1.0, 0.25])), draw(st.integers(0, 3)), draw(st.integers(1, 3)),
        None if once else draw(st.none() | st.integers(1, 9)),
        draw(st.none() | st.sets(st.integers(1, 9), min_size=1).map(frozenset)),
        draw(st.booleans()),
    )  # fmt: skip


@settings(deadline=None)
@given(st.lists(rules(), max_size=4), st.none() | st.integers(0, 99))
def test_what_is_written_is_read_back(listed: list[Rule], seed: int | None) -> None:
    rule_set = RuleSet(tuple(listed), (SetState("none", 2), SetState("pwritev", 3, state=1)), seed)
    assert parse_yaml.read(parse_yaml.write(rule_set)) == rule_set


def test_the_kinds_of_request_have_the_names_of_qemu() -> None:
    assert {kind.value for kind in IoType} >= {"read", "write-zeroes", "block-status"}
    assert get_args(Error.__annotations__["when"]) == ()  # postponed: fault_keys resolves them
    assert fault_keys(Error)["when"].schema["enum"] == ["before", "after"]
