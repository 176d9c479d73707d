"""Read and write rules as YAML, the project's own form (manual: docs/rules.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from injectors.rules import marked_yaml
from injectors.rules.errors import KeyProblem, RuleSyntaxError, meant
from injectors.rules.fields import rule_from, state_from, state_to_mapping, to_mapping
from injectors.rules.model import RuleSet

KEYS = ("seed", "rules", "states")
"""Keys of a rules file."""


def read(text: str, source: str = "rules.yaml") -> RuleSet:
    """Return the rules of a YAML text.

    :raise RuleSyntaxError: the text is wrong; names the line, the key, and what is allowed.
    """
    try:
        document = marked_yaml.load(text)
    except marked_yaml.NotYaml as error:
        raise RuleSyntaxError(source, error.line, str(error)) from None
    value = document.value
    if value is None:
        return RuleSet()
    if not isinstance(value, dict):
        raise RuleSyntaxError(source, 1, f"a rules file must be a mapping of {', '.join(KEYS)}")
    for key in value:
        if key not in KEYS:
            why = f"unknown key {key}{meant(str(key), KEYS)}; a rules file has {', '.join(KEYS)}"
            raise RuleSyntaxError(source, document.line((key,)), why)
    seed = value.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        why = f"seed: {seed!r} is not a whole number of at least 0"
        raise RuleSyntaxError(source, document.line(("seed",)), why)
    rules = _all(document, "rules", rule_from, source)
    names = [rule.name for rule in rules]
    for number, name in enumerate(names):
        if name and name in names[:number]:
            why = f"id: {name} is given twice; ids must be unique"
            raise RuleSyntaxError(source, document.line(("rules", number, "id")), why)
    return RuleSet(tuple(rules), tuple(_all(document, "states", state_from, source)), seed)


def _all(
    document: marked_yaml.Marked, key: str, make: Callable[[Mapping[str, Any]], Any], source: str
) -> list[Any]:
    assert isinstance(document.value, dict)
    items = document.value.get(key) or []
    if not isinstance(items, list):
        raise RuleSyntaxError(source, document.line((key,)), f"{key}: must be a list")
    made = []
    for number, item in enumerate(items):
        where = document.line((key, number))
        if not isinstance(item, dict):
            raise RuleSyntaxError(source, where, f"{key}: an entry must be a mapping, not {item!r}")
        try:
            made.append(make(item))
        except KeyProblem as error:
            spelled = [name for name in item if name.replace("-", "_") == error.key]
            if error.key in item:
                spelled = [error.key]
            line = document.line((key, number, *spelled[:1])) if error.key else where
            raise RuleSyntaxError(source, line, str(error)) from None
    return made


def write(rules: RuleSet) -> str:
    """Return the rules as YAML, one line for each rule; `read` returns the same rules."""
    lines = [] if rules.seed is None else [f"seed: {rules.seed}"]
    for key, items in (
        ("rules", [to_mapping(rule) for rule in rules.rules]),
        ("states", [state_to_mapping(change) for change in rules.states]),
    ):
        if items:
            lines += [f"{key}:", *(f"  - {_flow(item)}" for item in items)]
    return "\n".join(lines) + "\n" if lines else ""


def _flow(item: dict[str, Any]) -> str:
    text = yaml.safe_dump(item, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip()
