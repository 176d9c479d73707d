"""Any rules file and any command gives rules, or an error with its line, and never a crash."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from injectors.layer import create
from injectors.rules import parse_ini, parse_yaml
from injectors.rules.actions import ACTIONS
from injectors.rules.errors import RuleSyntaxError
from injectors.rules.explain import explain
from injectors.rules.fields import CONDITIONS, fault_keys
from tests.injectors.conftest import errno_of

KEYS = sorted({"action", "new_state", *CONDITIONS} | {
    key for kind in ACTIONS.values() for key in fault_keys(kind)
})  # fmt: skip
WORDS = ["write_aio", "none", "ENOSPC", "read", "torn", "delay", "8-15", "1M+64K", "-", "+", "9-3",
         "first-sectors", "99999999999999999999999-", "²", "٣", "mid-reply", "yes"]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.integers(), st.floats(), st.text(max_size=6),
    st.sampled_from(WORDS),
)  # fmt: skip
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS)
MAPPINGS = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), VALUES, max_size=6)
RULES = MAPPINGS.map(lambda one: {"event": "none"} | one) | VALUES
FILES = st.fixed_dictionaries(
    {},
    optional={
        "seed": VALUES,
        "rules": st.lists(RULES, max_size=3) | VALUES,
        "states": st.lists(RULES, max_size=2) | VALUES,
        "rule": VALUES,
    },
)


@settings(deadline=None)
@given(FILES | VALUES)
def test_any_yaml_gives_rules_or_an_error_with_a_line(document: object) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    try:
        rules = parse_yaml.read(text, "f.yaml")
    except RuleSyntaxError as error:
        assert str(error).startswith("f.yaml")
        assert error.line or "deep" in str(error)
    else:
        assert explain(rules)
        assert parse_yaml.read(parse_yaml.write(rules)) == rules


@settings(deadline=None)
@given(st.text())
@example("!0")
@example("rules: 2026-02-31")
@example("seed: !!bool maybe")
@example("? [a]\n: b")
def test_any_text_is_yaml_with_rules_or_an_error(text: str) -> None:
    for read in (parse_yaml.read, parse_ini.read):
        try:
            read(text, "f")
        except RuleSyntaxError as error:
            assert str(error).startswith("f")


@settings(deadline=None)
@given(st.sampled_from(sorted(create(None, seed=0).commands())), MAPPINGS)
def test_any_arguments_are_accepted_or_refused_with_a_message(
    command: str, arguments: dict[str, Any]
) -> None:
    layer = create("rules: [{event: none, id: a}]", seed=0)
    try:
        layer.commands()[command](arguments)
    except ValueError as error:
        assert str(error)
        assert [rule["id"] for rule in layer.describe()["rules"]] == ["a"], "nothing was changed"


@pytest.mark.parametrize("number", ["²", "1.5", "0x", "09", "1_0", "", "ENOSPC"])
def test_numbers_of_a_conf_are_plain_numbers(number: str) -> None:
    with pytest.raises(RuleSyntaxError, match=r"f:3: sector: .* is not a number"):
        parse_ini.read(f'[inject-error]\nevent = "none"\nsector = "{number}"', "f")


@pytest.mark.parametrize(("written", "errno"), [("28", 28), ("0x1c", 28), ("034", 28), ("0", 0)])
def test_numbers_of_a_conf_are_read_as_qemu_reads_them(written: str, errno: int) -> None:
    rules = parse_ini.read(f'[inject-error]\nevent = "none"\nerrno = "{written}"')
    assert errno_of(rules.rules[0]) == errno
