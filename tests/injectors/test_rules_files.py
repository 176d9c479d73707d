"""Rules in all forms: each form is recognized by its contents and can be written and read again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injectors.delay import Delay
from injectors.error import Error
from injectors.rules import files, parse_blockdev, parse_ini, parse_yaml
from injectors.rules.compile import to_blockdev
from injectors.rules.errors import NotExpressible, RuleSyntaxError
from injectors.rules.events import EVENTS, IoType
from injectors.rules.fault import Errno, Fault
from injectors.rules.model import Rule, RuleSet, SetState, point, sectors
from injectors.rules.nbdkit import to_nbdkit


def to_json(rules: RuleSet) -> str:
    return json.dumps(to_blockdev(rules, "IMAGE"), indent=2)


def to_command_line(rules: RuleSet) -> str:
    return shlex.join(to_nbdkit(rules)) + "\n"


WRITERS: dict[str, Callable[[RuleSet], str]] = {
    "blkdebug-conf": parse_ini.write,
    "blockdev-json": to_json,
    "nbdkit": to_command_line,
    "yaml": parse_yaml.write,
}

ERRNOS = st.sampled_from([5, 28, 1, 12, 22, 108, 0, 75, 4095]).map(Errno)
SPANS = st.none() | st.lists(
    st.builds(point, st.integers(0, 1 << 40)) | st.just(sectors(8, 15)), min_size=1, max_size=2
).map(tuple)
FAULTS: st.SearchStrategy[Fault] = st.builds(
    Error, errno=ERRNOS, immediately=st.booleans(), when=st.sampled_from(["before", "after"])
) | st.builds(Delay, milliseconds=st.integers(1, 5000).map(float), jitter=st.sampled_from([0, 5]))
EVENT = st.sampled_from(["none", "none", "read_aio", "write_aio", *EVENTS])
CHANGES = st.builds(SetState, event=EVENT, new_state=st.integers(0, 5), state=st.integers(0, 5))


@st.composite
def rules_of(draw: st.DrawFn, event: st.SearchStrategy[str] = EVENT) -> Rule:
    """Return a rule, most often a simple one that many forms can express."""
    rule = Rule(draw(event), draw(FAULTS), iotypes=frozenset({draw(st.sampled_from(IoType))}))
    if draw(st.booleans()):
        rule = replace(rule, fault=Error(draw(ERRNOS), immediately=draw(st.booleans())))
    if draw(st.booleans()):
        return rule
    once = draw(st.booleans())
    return replace(
        rule,
        state=draw(st.integers(0, 3)),
        spans=draw(SPANS),
        iotypes=draw(st.sampled_from([None, rule.iotypes])),
        once=once,
        count=None if once else draw(st.sampled_from([None, None, 1, 4])),
        every=draw(st.sampled_from([1, 1, 3])),
        may_not_fire=draw(st.booleans()),
    )


RULE_SETS = st.builds(
    RuleSet,
    rules=st.lists(rules_of(), max_size=3).map(tuple),
    states=st.lists(CHANGES, max_size=2).map(tuple),
    seed=st.none() | st.integers(0, 9),
)
SLOW_OR_FAILING = st.builds(
    RuleSet, rules=st.lists(rules_of(st.just("none")), min_size=1, max_size=3).map(tuple)
)


@pytest.mark.parametrize("form", WRITERS)
@given(rules=RULE_SETS | SLOW_OR_FAILING)
def test_what_is_written_can_be_read_back(form: str, rules: RuleSet) -> None:
    write = WRITERS[form]
    try:
        text = write(rules)
    except NotExpressible:
        return
    again = files.read(text)
    assert write(again) == text
    if form == "yaml":
        assert again == rules
    elif form != "nbdkit":
        assert again == expressed(rules)
    if rules.rules and text.strip():
        assert files.form_of(text) == form


def expressed(rules: RuleSet) -> RuleSet:
    """Return what blkdebug can express of a rule set."""
    ruled = [
        replace(one, once=one.limit == 1, count=None, may_not_fire=False) for one in rules.rules
    ]
    return RuleSet(tuple(ruled), rules.states)


def test_an_nbdkit_command_line_keeps_kinds_and_faults() -> None:
    rules = parse_yaml.read(
        "rules:\n"
        "- {event: write_aio, errno: ENOSPC, iotype: write}\n"
        "- {event: read_aio, action: delay, milliseconds: 200, iotype: read}\n"
    )
    assert parse_yaml.write(files.read(to_command_line(rules))) == (
        "rules:\n"
        "  - {event: none, errno: ENOSPC, iotype: write}\n"
        "  - {event: none, action: delay, milliseconds: 200.0, iotype: read}\n"
    )


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("# only a comment\n", "yaml"),
        ("", "yaml"),
        ("\n# blkdebug\n[set-state]\n", "blkdebug-conf"),
        ('event = "none"\n', "blkdebug-conf"),
        ('[inject-error "one"]\n', "blkdebug-conf"),
        ('{"rules": [{"event": "none"}]}', "yaml"),
        ("seed: 3\n", "yaml"),
        ('{"driver": "blkdebug"}', "blockdev-json"),
        ('{"execute": "blockdev-add", "arguments": {"driver": "blkdebug"}}', "blockdev-json"),
        ("nbdkit memory 1M", "nbdkit"),
        ("error-pread=EIO", "nbdkit"),
        ("delay-write=3", "nbdkit"),
        ("rules: {", "yaml"),
        ("[{event: none}]", "yaml"),
    ],
)
def test_a_form_is_known_by_its_contents(text: str, form: str) -> None:
    assert files.form_of(text) == form


# -- blkdebug.conf


def conf(body: str, header: str = "[inject-error]") -> RuleSet:
    return files.read(f"{header}\n{body}\n", "some.txt")


def test_spaces_comments_and_dots_are_read_as_qemu_reads_them() -> None:
    rules = conf(
        'event ="cluster_alloc.bytes"  # when a cluster grows\nerrno= "0x1c" ; not "5"\n',
        "[inject-error] # the first",
    )
    assert parse_yaml.write(rules) == "rules:\n  - {event: cluster_alloc_bytes, errno: ENOSPC}\n"


def test_the_last_of_two_values_counts_as_in_qemu() -> None:
    rules = conf('event = "none"\nsector = "3"\nsector = "9"\nonce = "on"\nonce = "off"')
    assert rules.rules == (Rule("none", spans=(point(9),)),)


@pytest.mark.parametrize("event", ["neg2", "neg-classic", "reply"])
def test_a_file_for_the_fault_injector_is_named(event: str) -> None:
    with pytest.raises(
        RuleSyntaxError, match=r"some.txt:2: event ?= ?.*: this is a file for QEMU's"
    ):
        conf(f"event = {event}\nwhen=after", '[inject-error "x"]')


# -- blockdev JSON


def node(**options: object) -> dict[str, object]:
    return {"driver": "blkdebug", "image": "disk"} | options


ENTRY = {"event": "l2_update", "errno": 28, "iotype": "write", "once": True}


@pytest.mark.parametrize(
    "document",
    [
        node(**{"inject-error": [ENTRY]}),
        {"driver": "qcow2", "file": node(**{"inject-error": [ENTRY], "node-name": "faults"})},
        {"execute": "blockdev-add", "arguments": node(**{"inject-error": [ENTRY]})},
        [{"driver": "file", "filename": "x"}, node(**{"inject-error": [ENTRY]})][1],
    ],
)
def test_the_blkdebug_node_is_found(document: dict[str, object]) -> None:
    rules = files.read(json.dumps(document, indent=4))
    assert rules.rules == (
        Rule("l2_update", Error(Errno(28)), iotypes=frozenset({IoType.WRITE}), once=True),
    )


def test_an_entry_has_the_defaults_of_qemu() -> None:
    text = json.dumps(node(**{"inject-error": [{"event": "flush_to_os", "sector": -1}]}))
    assert files.read(text).rules == (Rule("flush_to_os"),)


def test_changes_of_state_are_read() -> None:
    change = {"event": "write_aio", "state": 1, "new_state": 7}
    text = json.dumps(node(**{"set-state": [change]}))
    assert files.read(text) == RuleSet(states=(SetState("write_aio", 7, 1),))


def test_limits_of_the_node_are_named_and_left_out() -> None:
    text = json.dumps(node(**{"align": 512, "max-discard": 1 << 20, "inject-error": [ENTRY]}))
    assert files.limits(text) == ["align", "max-discard"]
    assert len(files.read(text).rules) == 1
    assert files.limits("rules: []") == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"driver": "qcow2"}, ":1: no node with driver blkdebug; exactly one is required"),
        (
            {"driver": "quorum", "children": [node(), node()]},
            ":1: 2 nodes with driver blkdebug; exactly one is required",
        ),
        (node(config="faults.conf"), ":4: config: this key names a file"),
        (node(colour=3), ":4: unknown key colour of a blkdebug node; rules and limits are inject"),
        (node(**{"inject-error": ENTRY}), ":4: inject-error: must be a list"),
        (node(**{"set-state": ["x"]}), ":5: set-state: an entry must be a mapping, not 'x'"),
        (node(**{"inject-error": [{"event": "x"}]}), ":6: event: 'x' is not one of"),
        (node(**{"inject-error": [{"errno": 5}]}), ":5: event is required"),
        (
            node(**{"inject-error": [ENTRY | {"count": 3}]}),
            ":10: count: unknown key; an entry of inject-error has event, state, iotype",
        ),
    ],
)
def test_a_wrong_node_is_refused_with_line_and_key(
    document: dict[str, object], message: str
) -> None:
    with pytest.raises(RuleSyntaxError) as refused:
        files.read(json.dumps(document, indent=1), "x.json")
    assert str(refused.value).startswith(f"x.json{message}")


def test_json_that_cannot_be_read_is_refused_with_its_line() -> None:
    with pytest.raises(RuleSyntaxError, match=r"x.json:3: not YAML"):
        files.read('{"driver": "blkdebug",\n "image": "x"\n ]', "x.json")


def test_the_reader_of_nodes_refuses_what_is_no_json() -> None:
    with pytest.raises(RuleSyntaxError, match=r"x.json:1: not YAML"):
        parse_blockdev.read("{", "x.json")


# -- nbdkit


def test_values_of_the_filters_have_the_defaults_of_nbdkit() -> None:
    rules = files.read("nbdkit --filter=error memory 1M error-trim-rate=25% error-zero=ENOSPC")
    (rule,) = rules.rules
    assert (rule.fault, rule.probability) == (Error(), 0.25)
    assert rule.kinds == {IoType.DISCARD}


def test_a_parameter_without_a_method_is_for_all() -> None:
    rules = files.read("nbdkit --filter=error null error=ENOMEM error-rate=1 error-pwrite-rate=0")
    assert {kind for rule in rules.rules for kind in rule.kinds} == {
        IoType.READ, IoType.WRITE_ZEROES, IoType.DISCARD, IoType.BLOCK_STATUS,
    }  # fmt: skip
    assert {rule.fault for rule in rules.rules} == {Error(Errno(12))}


def test_a_delay_and_an_error_of_one_kind_are_one_rule() -> None:
    rules = files.read("delay-write=1.5 error-pwrite=EIO error-pwrite-rate=100%")
    assert [rule.fault for rule in rules.rules] == [Delay(1500, errno=Errno(5))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("error-pread-rate=100%", "no rule can express different pread and cache"),
        ("delay-read=1", "no rule can express different read and cache"),
        ("error-pwrite-file=/tmp/x", "error-pwrite-file=/tmp/x: no rule can express this; methods"),
        ("delay-open=1", "delay-open=1: no rule can express this; methods are read, cache, write"),
        ("nbdkit null wdelay=1", "wdelay=1: use delay-METHOD; methods are read, cache"),
        ("delay-write=soon", "delay-write=soon: must be a time, such as 200ms or 1.5"),
        ("error-zero-rate=101%", "error-zero-rate=101%: must be a rate from 0 to 1, or from 0%"),
        ("error-zero-rate=often", "error-zero-rate=often: must be a rate from 0 to 1"),
        ("error-zero=EDQUOT", "error-zero=EDQUOT: must be one of EPERM, EIO, ENOMEM"),
        ("error-zero='EIO", "no closing quotation in the command line"),
        ("delay-zero=1 error-zero-rate=10%", "no rule can express a delay with an error at a rate"),
    ],
)
def test_a_wrong_parameter_is_refused(text: str, message: str) -> None:
    with pytest.raises(RuleSyntaxError) as refused:
        files.read(text, "line.txt")
    assert str(refused.value).startswith(f"line.txt:1: {message}")
